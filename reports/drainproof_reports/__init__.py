"""Reports, derived from verdicts and evidence and nothing else: JSON, JUnit XML, the certificate (HTML), and the
summary on the terminal.

This module is the plugin that drainproof registers in an active run; its functions are hooks, specified in
`drainproof.plugin.hookspecs`. It needs no pytest for that: a function is a hook by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drainproof.text import Line
from drainproof.verdict import Results

from drainproof_reports import certificate, junit, results_json, terminal


def pytest_drainproof_report(results: Results, folder: Path) -> None:
    """Writes `results.json` and `junit.xml`, and `certificate.html` when the run is over."""
    results_json.write(results, folder / results_json.FILE)
    junit.write(results, folder / junit.FILE)
    if certificate.is_due(results):
        certificate.write(results, folder)


def pytest_drainproof_summary(results: Results, folder: Path, width: int, written: bool) -> Sequence[Line]:
    """The summary at the end of the terminal output."""
    return terminal.summary(results, folder=folder, width=width, written=written)
