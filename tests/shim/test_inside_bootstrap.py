"""The shim in an interpreter where nothing is armed: it announces itself and is not to be noticed otherwise."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.shim.session import INSIDE

from tests.shim.programs import MINORS, Program, interpreter

STANDARD_SINCE_3_8 = {"_frozen_importlib", "_frozen_importlib_external"}
OURS = {"drainproof_shim"}


def files() -> list[Path]:
    return sorted(INSIDE.rglob("*.py"))


@pytest.mark.parametrize("file", files(), ids=lambda path: str(path.relative_to(INSIDE)))
def test_it_is_written_in_python_3_8_and_needs_the_standard_library_alone(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert set(imported(tree)) <= set(sys.stdlib_module_names) | STANDARD_SINCE_3_8 | OURS


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module
            yield node.module.partition(".")[0]


CHILDREN = """
    import multiprocessing, os, subprocess, sys, json

    def nothing():
        pass

    def descriptors():
        return sorted(os.listdir("/proc/self/fd"))

    if __name__ == "__main__":
        modules, open_now = sorted(sys.modules), descriptors()
        if "DRAINPROOF_SHIM" in os.environ:
            if os.fork() == 0:
                os._exit(0)
            os.wait()
            children = [subprocess.Popen([sys.executable, "-c", "pass"])]
            for method in ("spawn", "forkserver"):
                children.append(multiprocessing.get_context(method).Process(target=nothing))
                children[-1].start()
            children[0].wait()
            children[1].join()
            children[2].join()
        print(json.dumps({"modules": modules, "descriptors": open_now, "pid": os.getpid()}))
"""


@pytest.mark.parametrize("minor", MINORS)
def test_each_interpreter_announces_itself_and_nothing_else_is_there(minor: int, tmp_path: Path) -> None:
    python = interpreter(minor)
    program = Program(tmp_path, main=CHILDREN)
    with_us = program.run(python)
    interpreters = program.reports().interpreters
    first = interpreters[0]
    assert first["pid"] == with_us["pid"]
    assert first["python"].startswith(f"3.{minor}.")
    assert (first["armed"], first["start_method"], first["windows"]) == ([], None, False)
    assert first["argv"][-1] == "main.py"
    lines = [" ".join(hello["argv"]) for hello in interpreters]
    for child in ("-c pass", "multiprocessing.spawn", "multiprocessing.forkserver"):
        assert any(child in line for line in lines), lines
    forked = program.reports().all("forked")
    assert with_us["pid"] in {report["ppid"] for report in forked}
    assert len({report["pid"] for report in forked}) >= 2  # os.fork and the fork server's child
    without = program.run(python, environment=os.environ)
    assert set(with_us["modules"]) - set(without["modules"]) == {
        "drainproof_shim",
        "drainproof_shim.bootstrap",
        "drainproof_shim.channel",
    }
    assert with_us["descriptors"] == without["descriptors"]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=60, check=False
    )


@pytest.mark.parametrize("minor", [MINORS[0], 11, MINORS[-1]])
def test_it_makes_way_for_another_sitecustomize(minor: int, tmp_path: Path) -> None:
    python, theirs = interpreter(minor), tmp_path / "theirs"
    theirs.mkdir()
    path = f"{INSIDE}{os.pathsep}{theirs}"
    session = {"DRAINPROOF_SHIM": str(tmp_path)}
    code = "import sitecustomize; print(sitecustomize.__name__, sitecustomize.__file__)"

    # The interpreter's own, which Debian's has, or none.
    with_us, without = (run(python, "-c", code, PYTHONPATH=p, **session) for p in (path, str(theirs)))
    assert with_us.stdout == without.stdout
    assert with_us.stderr.splitlines()[-1:] == without.stderr.splitlines()[-1:]
    if not without.stdout:
        assert with_us.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'sitecustomize'"
    assert (tmp_path / "reports.jsonl").read_text().count("hello") == 1

    (theirs / "sitecustomize.py").write_text("import sys; sys.theirs = __name__")
    other = run(python, "-c", code + "; import sys; print(sys.theirs)", PYTHONPATH=path, **session)
    assert other.stdout.split() == ["sitecustomize", str(theirs / "sitecustomize.py"), "sitecustomize"]
    assert other.stderr == ""

    (theirs / "sitecustomize.py").write_text("raise ValueError('theirs')")
    with_us, without = (run(python, "-c", "print(1)", PYTHONPATH=p, **session) for p in (path, str(theirs)))
    assert (with_us.stdout, with_us.stderr) == (without.stdout, without.stderr)
    assert "ValueError: theirs" in with_us.stderr
    with_us, without = (run(python, "-c", code, PYTHONPATH=p, **session) for p in (path, str(theirs)))
    assert with_us.stderr.splitlines()[-1] == without.stderr.splitlines()[-1] == "ValueError: theirs"


@pytest.mark.parametrize("session", ["", "/nonexistent/session", "relative"])
def test_a_session_that_is_not_there_disturbs_nobody(session: str) -> None:
    done = run(sys.executable, "-c", "print('served')", PYTHONPATH=str(INSIDE), DRAINPROOF_SHIM=session)
    assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")


def test_a_plan_that_is_damaged_is_reported(tmp_path: Path) -> None:
    for content, why in (("{", "JSONDecodeError"), ('{"version": 99}', "version 99 instead of 1")):
        (tmp_path / "plan.json").write_text(content)
        done = run(sys.executable, "-c", "print('served')", PYTHONPATH=str(INSIDE), DRAINPROOF_SHIM=str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "served\n", "")
        assert why in (tmp_path / "reports.jsonl").read_text()


def test_descriptors_and_a_folder_that_are_taken_away_disturb_nobody(tmp_path: Path) -> None:
    """A daemon closes everything, and its session's folder goes away; forks still report, or are still silent."""
    program = Program(
        tmp_path,
        main="""
        import json, os, shutil
        print(json.dumps("served"), flush=True)
        os.closerange(0, 4096)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        shutil.rmtree(os.environ["DRAINPROOF_SHIM"] + "/claims")
        os.rename(os.environ["DRAINPROOF_SHIM"] + "/reports.jsonl", "kept")
        os.rename(os.environ["DRAINPROOF_SHIM"], "elsewhere")
        if os.fork() == 0:
            os._exit(0)
        os._exit(0 if os.wait()[1] == 0 else 1)
        """,
    )
    assert program.run(sys.executable) == "served"
    assert (program.folder / "kept").read_text().count("forked") == 1


def test_reports_are_json_whatever_is_in_them(tmp_path: Path) -> None:
    text = 'é\U0001f600"\\\n\t\x00' + "\udc80"
    code = f"from drainproof_shim import channel; channel.report('trouble', text={text!r}, number=1.5, none=None)"
    done = run(sys.executable, "-c", code, PYTHONPATH=str(INSIDE), DRAINPROOF_SHIM=str(tmp_path))
    assert done.stderr == ""
    import json

    last = json.loads((tmp_path / "reports.jsonl").read_text(encoding="ascii").splitlines()[-1])
    assert (last["text"], last["number"], last["none"]) == (text, 1.5, None)
