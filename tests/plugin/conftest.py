"""An inner pytest with a target, stand-in scenarios and a stand-in laboratory."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from textwrap import dedent

import pytest

for name in ("drainproof.plugin.activation", "drainproof.target.manifest", "drainproof_reports", "scipy.stats"):
    importlib.import_module(name)  # an inner pytest in this process forgets what it has imported itself

HERE = Path(__file__).parent

MANIFEST = """
name = "standin"
[start]
command = ["{python}", "server.py", "--port", "{port}", "--workers", "{workers}"]
workers = [1, 2]
[health]
readiness = "/ready"
[[request]]
path = "/predict"
"""

QUICK = ["-p", "no:hypothesispytest"]
"""Hypothesis would be imported, and rewritten, in each inner run."""

PRELUDE = """
import pytest
from drainproof.errors import *
from standin import requirement
"""


class Inner:
    """A folder with a target in `server`, and pytest in it."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.report = self.path / "drainproof-report"
        self.target = self.path / "server"
        self.target.mkdir()
        (self.target / "drainproof.toml").write_text(MANIFEST)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))
        return file

    def scenarios(self, text: str, module: str = "drain") -> None:
        """A module of the scenario package."""
        self.write("standin_scenarios/__init__.py", "")
        self.write(f"standin_scenarios/{module}.py", PRELUDE + dedent(text))

    def run(self, *args: str | Path, target: bool = True) -> pytest.RunResult:
        """pytest in this process."""
        return self.pytester.runpytest_inprocess(*self._args(args, target))

    def run_apart(self, *args: str | Path, target: bool = True) -> pytest.RunResult:
        """pytest in a process of its own."""
        return self.pytester.runpytest_subprocess(*self._args(args, target), timeout=60)

    def _args(self, args: tuple[str | Path, ...], target: bool) -> list[str | Path]:
        return [*QUICK, "-p", "standin", *(["--target=server"] if target else []), *args]

    def results(self) -> dict:
        """What is in results.json."""
        return json.loads((self.report / "results.json").read_text())

    def verdicts(self) -> dict[str, str]:
        """The verdicts by scenario and check."""
        return {f"{v['scenario']}::{v['check']}": v["verdict"] for v in self.results()["verdicts"]}

    def evidence(self) -> Path:
        """The newest evidence folder."""
        return max((self.report / "evidence").iterdir())


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.delenv("CI", raising=False)
    pytester.syspathinsert(HERE)
    pytester.syspathinsert(pytester.path)
    return Inner(pytester)
