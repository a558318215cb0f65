"""Reports, derived from verdicts and evidence and nothing else: for people, machines, GitHub, and the terminal.

This module is the plugin that drainproof registers in an active run; its functions are hooks, specified in
`drainproof.plugin.hookspecs`. It needs no pytest for that: a function is a hook by its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drainproof.saved import FILE
from drainproof.text import Line
from drainproof.verdict import Results
from drainproof.workflow_commands import for_terminal, in_github_actions

from drainproof_reports import badge, certificate, junit, markdown, statement, terminal, workflow
from drainproof_reports import results_json as results_json_report


def pytest_drainproof_report(results: Results, folder: Path) -> None:
    """Writes all reports; `statement.json` and `certificate.html` at the end of a run only."""
    results_json_report.write(results, folder / FILE)
    junit.write(results, folder / junit.FILE)
    markdown.write(results, folder / markdown.FILE)
    badge.write(results, folder / badge.FILE)
    statement.write(results, folder / statement.FILE, results_json=folder / FILE)
    if certificate.is_due(results):
        certificate.write(results, folder)


def pytest_drainproof_derived(results: Results, results_json: bytes) -> Mapping[str, Any]:
    """What has to be in `results.json` and in `statement.json`."""
    return {
        FILE: results_json_report.document(results),
        statement.FILE: statement.document(results, results_json=results_json),
    }


def pytest_drainproof_summary(results: Results, folder: Path, width: int, written: bool) -> Sequence[Line]:
    """The summary at the end of the terminal output; in GitHub Actions, annotations and the summary of the step too."""
    summary = terminal.summary(results, folder=folder, width=width, written=written)
    lines = [Line(for_terminal(line.text), line.style) for line in summary]
    if in_github_actions():
        lines += [Line(command) for command in workflow.commands(results)]
    if (problem := markdown.append_to_step(results)) is not None:
        lines.append(Line(for_terminal(problem), "yellow"))
    return lines
