"""Programs that load the shim, on each Python that is installed."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from drainproof.shim.reports import ShimReports
from drainproof.shim.session import INSIDE, FailPoint, ShimSession

MINORS = (8, 9, 10, 11, 12, 13)


@functools.cache
def interpreter(minor: int) -> str:
    """The interpreter of Python 3.`minor`; skips the test where there is none."""
    if minor == sys.version_info.minor:
        return sys.executable
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python3.{minor}"), *map(str, versions.glob(f"3.{minor}.*/bin/python"))):
        if candidate:
            code = "import sys; print(sys.version_info[1])"
            done = subprocess.run([candidate, "-c", code], capture_output=True, check=False)
            if done.stdout.strip() == str(minor).encode():
                return candidate
    pytest.skip(f"no Python 3.{minor} is installed")


class Program:
    """A folder with a program `main.py`, and a session of the shim."""

    def __init__(self, tmp: Path, **files: str) -> None:
        self.folder = tmp / "program"
        self.folder.mkdir()
        for name, text in files.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
        self.session = ShimSession(folder=tmp / "shim")

    def arm(self, name: str, site: str, **options: Any) -> None:
        values = {"exception": "RuntimeError", "message": f"injected: {name}", "when": {"call": 1}, **options}
        self.session.arm(FailPoint(name=name, sites=(site,), **values))

    def environment(self, **more: str) -> dict[str, str]:
        """The target's environment; a PYTHONPATH in `more` goes behind the shim's."""
        ours = self.session.environment(code=str(INSIDE), folder=str(self.session.folder))
        if "PYTHONPATH" in more:
            ours["PYTHONPATH"] += os.pathsep + more["PYTHONPATH"]
        return {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **more, **ours}

    def run(self, python: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """Installs the session and runs `main.py` to its end; what it printed as JSON. Nothing may be on stderr."""
        self.session.install()
        done = subprocess.run(
            [python, *arguments, "main.py"],
            cwd=self.folder,
            env=self.environment() if environment is None else dict(environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return json.loads(done.stdout)

    def reports(self) -> ShimReports:
        return self.session.reports()
