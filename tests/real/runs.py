"""Whole runs of drainproof as a user starts them: a pytest process with --target, its files and its exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVERS = ROOT / "reference_servers"
BROKEN = SERVERS / "broken"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run."""

    report: Path
    """The report folder."""
    status: int
    output: str
    results: dict[str, Any]

    def by_requirement(self, *verdicts: str) -> set[str]:
        """The ids of the requirements that got one of `verdicts` in at least one scenario."""
        return {v["requirement"] for v in self.results["verdicts"] if v["verdict"] in verdicts}

    def explain(self) -> str:
        """What was not green, for the message of a failing test."""
        lines = [
            f"{v['verdict']:13} {v['requirement']:9} {v['scenario']}: {v['summary']}"
            for v in self.results["verdicts"]
            if v["verdict"] not in ("pass", "unsupported")
        ]
        return "\n".join(lines) or self.output[-3000:]


def run(target: Path, *, report: Path, arguments: Sequence[str] = (), timeout: float = 1800.0) -> Run:
    """Runs the scenarios on `target` and reads the results."""
    command = pytest_command(f"--target={target}", f"--report-dir={report}", *arguments)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    return finished(done, report)


def judge(evidence: Path, *, report: Path, arguments: Sequence[str] = ()) -> Run:
    """Judges saved evidence again."""
    command = pytest_command(f"--evidence={evidence}", f"--report-dir={report}", *arguments)
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False
    )
    return finished(done, report)


def keep(done: Run, *, name: str) -> None:
    """Puts the reports of a run where CI collects them (the folder DRAINPROOF_ARTEFACTS), if it does."""
    if folder := os.environ.get("DRAINPROOF_ARTEFACTS"):
        shutil.copytree(
            done.report, Path(folder) / name, ignore=shutil.ignore_patterns("evidence", ".*"), dirs_exist_ok=True
        )


def pytest_command(*arguments: str) -> list[str]:
    """The command line of an inner pytest that has nothing to do with the outer one."""
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", *arguments]


def environment() -> dict[str, str]:
    """The environment without what the outer pytest left in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}


def finished(done: subprocess.CompletedProcess[bytes], report: Path) -> Run:
    """Reads what a run left."""
    output = done.stdout.decode(errors="replace")
    path = report / "results.json"
    assert path.exists(), f"no results.json, exit status {done.returncode}:\n{output[-4000:]}"
    return Run(report=report, status=done.returncode, output=output, results=json.loads(path.read_text()))
