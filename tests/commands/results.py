"""Results made by hand, as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drainproof.verdict import Outcome, Results, Verdict
from drainproof_reports import results_json


def verdict(requirement: str, outcome: Outcome, **values: str | int) -> Verdict:
    """One verdict, in a scenario of its own."""
    made = Verdict(
        requirement=requirement,
        level="MUST",
        rule="…",
        scenario="drain.TestStop[SIGTERM-main-1w]",
        title="SIGTERM to the main process",
        check=f"test_{requirement.lower().replace('-', '_')}",
        verdict=outcome,
        summary=f"{requirement} is {outcome}",
    )
    return replace(made, **values)  # type: ignore[arg-type]


def saved(folder: Path, *verdicts: Verdict, name: str = "sentiment", aborted: bool = False) -> Path:
    """A report folder with these verdicts."""
    folder.mkdir()
    results = Results(
        target={"name": name, "folder": "/srv", "manifest": {}},
        versions={"drainproof": "0", "python": "3", "platform": "Linux", "target": {}},
        verdicts=verdicts,
        started="2026-11-20T15:40:11+00:00",
        seconds=1.0,
        aborted=aborted,
    )
    results_json.write(results, folder / "results.json")
    return folder
