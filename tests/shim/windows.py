"""Programs that see Windows (emulated), started as a target is."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from drainproof.shim.reports import ShimReports
from drainproof.shim.session import INSIDE, ShimSession

HERE = Path(__file__).parent
MINORS = (9, 10, 11, 12, 13)


@functools.cache
def interpreters() -> dict[int, str]:
    """An interpreter of each minor version from 3.9 to 3.13 that is installed, by the minor version."""
    found = {sys.version_info.minor: sys.executable}
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in MINORS:
        candidates = [shutil.which(f"python3.{minor}"), *map(str, versions.glob(f"3.{minor}.*/bin/python"))]
        for candidate in filter(None, candidates):
            if minor not in found and _is(candidate, minor):
                found[minor] = candidate
    return found


def _is(python: str, minor: int) -> bool:
    """Whether it starts and is what it is called (a shim of a version manager may be neither)."""
    done = subprocess.run([python, "-c", "import sys; print(sys.version_info[1])"], capture_output=True, check=False)
    return done.stdout.strip() == str(minor).encode()


def interpreter(minor: int) -> str:
    """The interpreter of Python 3.`minor`; skips the test where there is none."""
    if minor not in interpreters():
        pytest.skip(f"no Python 3.{minor} is installed")
    return interpreters()[minor]


class Windows:
    """A target's folder whose code sees Windows."""

    def __init__(self, tmp: Path, *, packages: Sequence[str] = ()) -> None:
        self.root = tmp / "target"
        self.root.mkdir()
        self.session = ShimSession(folder=tmp / "shim")
        self.session.windows = {"roots": [str(self.root)], "packages": list(packages)}
        self.session.install()

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        ours = self.session.environment(code=str(INSIDE), folder=str(self.session.folder))
        if more and "PYTHONPATH" in more:
            ours["PYTHONPATH"] += os.pathsep + more["PYTHONPATH"]
        return {**os.environ, **(more or {}), **ours}

    def start(
        self, python: str, script: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts the script of that name in the root; the process leads a group of its own, as a target does."""
        return subprocess.Popen(
            [python, str(self.root / script), *arguments],
            env=self.environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def record(self, python: str, script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """Runs a script of this folder in the root, and returns the JSON that it prints."""
        shutil.copy(HERE / script, self.root)
        process = self.start(python, script, *arguments, environment=environment)
        stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 0 and stdout, stderr
        return json.loads(stdout.splitlines()[-1])

    def reports(self) -> ShimReports:
        return self.session.reports()
