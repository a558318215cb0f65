"""`drainproof list`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from drainproof.requirement import catalogue

from tests.commands.front_door import drainproof
from tests.real.runs import ROOT, SERVERS, pytest_command

PROCESS = '[start]\ncommand = ["./run", "{port}"]\n'
REST = '[health]\nreadiness = "/ready"\n[[request]]\npath = "/predict"\n'


def listed(*args: str, cwd: Path | None = None) -> dict:
    done = drainproof("list", *args, "--json", cwd=cwd)
    assert done.status == 0, done.err
    return json.loads(done.out)


def test_requirements_are_those_of_the_catalogue() -> None:
    rows = listed("requirements")["requirements"]
    assert [row["id"] for row in rows] == list(catalogue())
    assert rows[0]["level"] == "MUST"
    assert "START-1   MUST    Ready means serving\n" in drainproof("list", "requirements").out


def test_scenarios_are_those_that_pytest_collects(tmp_path: Path) -> None:
    """Those of the conforming server as a process are all but those for other targets and other launch modes."""
    elsewhere = ("containers.", "limits.", "pods.", "exceptions.TestOwnFailPoint", "workers.TestNoWorkerEverLoads")
    rows = listed("scenarios")["scenarios"]
    command = pytest_command(f"--target={SERVERS / 'conforming'}", "--collect-only", "-q")
    collected = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True).stdout
    classes = {".".join(found) for found in re.findall(r"/(\w+)\.py::(\w+)::", collected)}
    names = {row["id"] for row in rows}
    assert classes
    assert classes <= names
    assert all(name.startswith(elsewhere) for name in names - classes), names - classes
    by_id = {row["id"]: row for row in rows}
    assert "DRAIN-1" in by_id["drain.TestStopUnderLoad"]["requirements"]


def test_targets_below_the_folder(tmp_path: Path) -> None:
    for name, text in {
        "a/drainproof.toml": f'name = "first"\n{PROCESS}{REST}',
        "b/deep/drainproof.toml": f'{PROCESS}{REST}[container]\nimage = "x"\nports = {{ http = 80 }}\n',
        "c/pyproject.toml": "[tool.drainproof.start]\n",
        "d/pyproject.toml": "[tool.other]\n",
        ".hidden/drainproof.toml": PROCESS,
        "venv/pyvenv.cfg": "",
        "venv/lib/drainproof.toml": PROCESS,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    rows = listed("targets", cwd=tmp_path)["targets"]
    assert [(row["folder"], row["name"], row["launch"]) for row in rows] == [
        ("a", "first", ["process"]),
        ("b/deep", "deep", ["process", "container"]),
        ("c", "c", []),
    ]
    assert rows[2]["mistake"].startswith(str(tmp_path / "c" / "pyproject.toml"))
    assert "its manifest has mistakes" in drainproof("list", "targets", cwd=tmp_path).out


def test_without_a_word_all_three(tmp_path: Path) -> None:
    assert list(listed(cwd=tmp_path)) == ["requirements", "scenarios", "targets"]
    assert drainproof("list", cwd=tmp_path).out.endswith(f"targets\n\nnone below {tmp_path}\n")


def test_what_nobody_knows() -> None:
    done = drainproof("list", "servers", cwd=ROOT)
    assert done.status == 2
    assert "invalid choice: 'servers'" in done.err


@pytest.mark.parametrize("what", ["requirements", "scenarios"])
def test_a_foreign_package_that_is_broken_is_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "__init__.py").touch()
    (tmp_path / "acme" / "bad.py").write_text("1 / 0")
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[drainproof.scenarios]\nacme = acme\n")
    done = drainproof("list", what, env={"PYTHONPATH": str(tmp_path)})
    if what == "requirements":
        assert done.status == 0
    else:
        assert done.err == "drainproof list: error: acme.bad cannot be imported: ZeroDivisionError: division by zero\n"
