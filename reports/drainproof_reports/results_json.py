"""`results.json`: everything that a run says, for programs. Its schema is `results.schema.json` beside this module."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from drainproof.saved import FORMAT
from drainproof.text import json_value
from drainproof.verdict import OUTCOMES, Results

from drainproof_reports import files, pods, repetitions

SCHEMA = Path(__file__).with_name("results.schema.json")


def document(results: Results) -> dict[str, Any]:
    """The content of the file."""
    counts = {outcome: sum(v.verdict == outcome for v in results.verdicts) for outcome in OUTCOMES}
    content = {
        "format": FORMAT,
        "aborted": results.aborted,
        "red": results.red,
        "overall": results.overall,
        "specification": results.specification,
        "started": results.started,
        "seconds": results.seconds,
        "command": results.command,
        "target": results.target,
        "versions": results.versions,
        "counts": counts,
        "deselected": results.deselected,
        "bundle": None if results.bundle is None else asdict(results.bundle),
        "gate": None if results.gate is None else asdict(results.gate),
        "stale": [asdict(stale) for stale in results.stale],
        "verdicts": [verdict.to_json() for verdict in results.verdicts],
    }
    if (found := pods.advice(results)) is not None:
        content["pod_termination"] = found.to_json()
    if (repeated := repetitions.repetitions(results)) is not None:
        content["repetitions"] = repeated.to_json()
    cleaned: dict[str, Any] = json_value(content)
    return cleaned


def write(results: Results, path: Path) -> None:
    """Writes the file in one step. Raises OSError."""
    files.replace(path, json.dumps(document(results), indent=1, ensure_ascii=True, allow_nan=False) + "\n")
