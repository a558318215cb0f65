"""Environment: asked of real processes, in and out of a virtual environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drainproof.probes.environment import describe_python


@contextmanager
def running(*command: str | Path, **options: object) -> Iterator[int]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.communicate()


WAIT = "print(flush=True); input()"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with one package in it."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "tiny_model-1.2.3.dist-info").mkdir()
    (site / "tiny_model-1.2.3.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.2.3\n"
    )
    return folder


def test_the_packages_are_those_of_the_virtual_environment(environment: Path) -> None:
    python = environment / "bin" / "python"
    with running(python, "-c", WAIT) as pid:
        assert describe_python(pid=pid) == {
            "executable": str(python),
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "packages": {"tiny-model": "1.2.3"},
        }


def test_a_relative_path_and_a_name_found_on_the_path(environment: Path) -> None:
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    with running("bin/python", "-c", WAIT, cwd=environment) as pid:
        assert describe_python(pid=pid)["packages"] == {"tiny-model": "1.2.3"}
    with running("env", "python", "-c", WAIT, env={"PATH": path}) as pid:
        assert describe_python(pid=pid)["packages"] == {"tiny-model": "1.2.3"}


def test_a_script_with_a_shebang(environment: Path) -> None:
    script = environment / "bin" / "serve"
    script.write_text(f"#!{environment / 'bin' / 'python'}\n{WAIT}\n")
    script.chmod(0o755)
    with running(script) as pid:
        assert describe_python(pid=pid)["packages"] == {"tiny-model": "1.2.3"}


def test_a_process_that_has_renamed_itself(environment: Path) -> None:
    shell = ["bash", "-c", f"exec -a 'server: main' {sys.executable} -c '{WAIT}'"]
    with running(*shell, env={}) as pid:
        described = describe_python(pid=pid)
    assert described["python"] == platform.python_version()
    assert "packages" not in described
    with running(
        "bash",
        "-c",
        f"exec -a 'server: main' {environment}/bin/python -c '{WAIT}'",
        env={"VIRTUAL_ENV": str(environment)},
    ) as pid:
        assert describe_python(pid=pid)["packages"] == {"tiny-model": "1.2.3"}


def test_other_programs_and_processes_that_are_gone() -> None:
    with running("bash", "-c", "echo; read") as pid:
        assert describe_python(pid=pid) == {}
    assert describe_python(pid=pid) == {}


def test_an_interpreter_that_does_not_answer(tmp_path: Path) -> None:
    venv.create(tmp_path, symlinks=True, with_pip=False)
    (site,) = tmp_path.glob("lib/python*/site-packages")
    # No sitecustomize: Debian's Python has one of its own, which comes first.
    (site / "sleeps.pth").write_text("import sys, time; sys.flags.isolated and time.sleep(60)\n")
    with running(tmp_path / "bin" / "python", "-c", WAIT) as pid:
        started = time.monotonic()
        assert describe_python(pid=pid, timeout=0.3) == {}
        assert time.monotonic() - started < 20
