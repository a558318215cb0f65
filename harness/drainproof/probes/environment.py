"""Which Python a process runs, and which packages it can import: asked of the same interpreter, from outside.

The program file of a process (/proc/PID/exe) is not enough: in a virtual environment it is a link to the base
installation, and only started under its path in the environment does Python find the packages there. So the path is
the one that the process was started with, and it is used only if it is the same file as the program that runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_INTERPRETER = re.compile(r"^(?:python|pypy)[\d.]*(?:-\w+)?$")

_QUESTION = """
import json, platform, sys
try:
    from importlib import metadata
except ImportError:
    packages = None
else:
    packages = {}
    for found in metadata.distributions():
        name = found.metadata["Name"]
        if name:
            packages.setdefault(name, found.version)
print(json.dumps([platform.python_version(), platform.python_implementation(), packages]))
"""

_PASSED_ON = ("PATH", "LD_LIBRARY_PATH")
"""Variables that an interpreter may need to start. The rest of the process's environment is its own business."""


def describe_python(*, pid: int, timeout: float = 10.0) -> dict[str, Any]:
    """Version and packages of the Python that the process `pid` runs.

    `{"executable": path, "python": "3.11.7", "implementation": "CPython", "packages": {name: version}}`, names sorted.
    `packages` is missing where the process does not tell which environment it was started from (it may have renamed
    itself). Empty where the process is not Python, is gone, lives in another file system (a container), or does not
    answer within `timeout` seconds. PYTHONPATH is not looked at.
    """
    process = Path("/proc") / str(pid)
    try:
        if not (process / "root").samefile("/"):
            return {}
        program = (process / "exe").readlink()
        environment = _environment(process)
        started_as = next(_candidates(process, environment), None)
    except OSError:
        return {}
    if not _INTERPRETER.match(program.name.removesuffix(" (deleted)")):
        return {}
    answer = _ask(started_as or program, environment, timeout)
    if answer is None:
        return {}
    version, implementation, packages = answer
    described: dict[str, Any] = {
        "executable": str(started_as or program),
        "python": version,
        "implementation": implementation,
    }
    if packages is not None and started_as is not None:
        described["packages"] = dict(sorted(packages.items(), key=lambda item: item[0].lower()))
    return described


def _environment(process: Path) -> dict[str, str]:
    text = os.fsdecode((process / "environ").read_bytes())
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _candidates(process: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Paths under which the process may have been started, and which are the program that it runs."""
    name = os.fsdecode((process / "cmdline").read_bytes().split(b"\0")[0])
    found = [(process / "cwd").readlink() / name] if "/" in name else []
    if name and "/" not in name and (program := shutil.which(name, path=environment.get("PATH"))):
        found.append(Path(program))
    if "VIRTUAL_ENV" in environment:
        found.append(Path(environment["VIRTUAL_ENV"]) / "bin" / "python")
    for path in found:
        with contextlib.suppress(OSError):
            if path.samefile(process / "exe"):
                yield path


def _ask(
    interpreter: Path, environment: dict[str, str], timeout: float
) -> tuple[str, str, dict[str, str] | None] | None:
    """What the interpreter says of itself; None if it says nothing of use."""
    try:
        done = subprocess.run(
            [interpreter, "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=True,
            cwd="/",
            env={name: environment[name] for name in _PASSED_ON if name in environment},
        )
        version, implementation, packages = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return version, implementation, packages
