"""Processes, signals and modules behave as on Windows for the target, and as ever for everybody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shim.windows import MINORS, Windows, interpreter

OUTSIDER = """
import asyncio, fcntl, os, platform, select, selectors, signal, socket, sys

def look():
    return [sys.platform, os.name, platform.system(), hasattr(os, "fork"), hasattr(signal, "SIGKILL"),
            signal.Signals(21).name, hasattr(socket, "AF_UNIX"), hasattr(select, "epoll"),
            selectors.DefaultSelector.__name__, "fork" in vars(os), hasattr(asyncio, "ProactorEventLoop")]
"""

EXPECTED = {
    "vars": "win32",
    "eval": ["win32", "win32"],
    "dict": [False, False, False, True],
    "star": [False, True],
    "import_module": "ModuleNotFoundError: No module named 'fcntl'",
    "find_spec": "None",
    "new module": True,
    "isinstance": True,
    "share": True,
    "msvcrt": True,
    "names": ["SIGBREAK", True, "Interrupt"],
    "os.kill 15": 15,
    "os.kill 9": 9,
    "os.kill 22": 22,
    "os.kill self": 15,
    "terminate": 1,
    "kill": 1,
    "send_signal 15": 1,
    "send_signal 2": "ValueError: Unsupported signal: 2",
    "break at once": 0xC000013A,
    "raise 15": [[15], 3],
    "raise 21": [[21], 3],
    "raise 22": [[22], 3],
    "raise 9": "OSError: [Errno 22] Invalid argument",
    "exit -1": 255,
    "KeyboardInterrupt": 0xC000013A,
    "spawned": [-15, -15],
    "set_start_method": "None",
    "server, thread, child": ["hello\n", 42, "1\n", 0],
    "asyncio terminate": 1,
    "communicate": "x\n",
    "pool": [42, "win32", "spawn"],
    "outsider": ["linux", "posix", "Linux", True, True, "SIGTTIN", True, True, "EpollSelector", True, False],
}

QUICK = (sys.version_info.minor,)
"""The version of the default run: each takes seconds."""


@pytest.mark.parametrize("minor", [pytest.param(m, marks=() if m in QUICK else pytest.mark.real) for m in MINORS])
def test_behaves_as_on_windows_for_the_target_alone(minor: int, tmp_path: Path) -> None:
    python = interpreter(minor)
    windows = Windows(tmp_path)
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / "outsider.py").write_text(OUTSIDER)

    seen = windows.record(
        python, "windows_behaviour.py", environment={"PYTHONPATH": str(tmp_path / "installed"), "LC_ALL": "C"}
    )

    assert seen.pop("import os.fork").startswith("ImportError: cannot import name 'fork' from 'os'")
    assert {key: (seen[key], value) for key, value in EXPECTED.items() if seen[key] != value} == {}
    assert not windows.reports().all("trouble")


def test_what_is_installed_in_the_targets_folder_sees_linux_unless_it_is_named(tmp_path: Path) -> None:
    windows = Windows(tmp_path, packages=["framework"])
    packages = windows.root / ".venv" / "lib" / "site-packages"
    for name in ("library", "framework"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text("import sys\nPLATFORM = sys.platform\n")
    (windows.root / "main.py").write_text("import framework, library; print(library.PLATFORM, framework.PLATFORM)")

    process = windows.start(sys.executable, "main.py", environment={"PYTHONPATH": str(packages)})

    assert process.communicate(timeout=30)[0] == "linux win32\n"


def test_a_python_that_it_is_not_made_for_stays_as_it_is_and_says_so(tmp_path: Path) -> None:
    windows = Windows(tmp_path)
    start = (
        "import sys; sys.version_info = (3, 14, 0)\n"
        "from drainproof_shim import channel; channel.connect(sys.argv[1])\n"
        "from drainproof_shim.windows import activate; activate(roots=['/'], packages=[])\n"
        "print(sys.platform)"
    )
    (windows.root / "main.py").write_text(start)
    environment = {k: v for k, v in windows.environment().items() if k != "DRAINPROOF_SHIM"}

    done = subprocess.run(
        [sys.executable, str(windows.root / "main.py"), str(windows.session.folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "linux\n"
    assert [report["text"] for report in windows.reports().all("trouble")] == ["cannot emulate Windows on Python 3.14"]
