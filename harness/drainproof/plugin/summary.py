"""The end of pytest's output: our summary in place of pytest's sections about the same failures."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from drainproof.plugin.outcomes import outcome_of, verdict_of
from drainproof.plugin.results import ResultsKeeper
from drainproof.plugin.run import Run
from drainproof.text import Line, printable
from drainproof.verdict import RED
from drainproof.workflow_commands import for_terminal


class Summary:
    """Prints the lines of the reports; says whether everything was written."""

    def __init__(self, run: Run, keeper: ResultsKeeper) -> None:
        self._run = run
        self._keeper = keeper

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Makes pytest's last line red for every red verdict: it knows of `failed` and `error` alone."""
        verdict = verdict_of(report)
        reporter = self._run.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and verdict is not None and verdict.verdict in RED and verdict.known is None:
            reporter.stats.setdefault("failed", [])

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None]:
        """Keeps our failures out of pytest's sections, and prints our own summary after those.

        pytest's FAILURES would print the text of each verdict, its short summary would print it again. What stays is
        its ERRORS section: the traceback of a failure of the harness is shown there and nowhere else.
        """
        stats = terminalreporter.stats
        kept: dict[str, list[object]] = {name: stats[name] for name in ("failed", "error") if name in stats}
        _leave_out_ours(terminalreporter, "failed")
        result = yield
        stats.update(kept)
        if not self._run.only_collects:
            self._print(terminalreporter)
        return result

    def _print(self, reporter: pytest.TerminalReporter) -> None:
        run = self._run
        width = run.config.get_terminal_writer().fullwidth
        results = self._keeper.results()
        if (results.verdicts or results.gate is not None) and not run.config.option.no_summary:
            reporter.write_sep("=", f"drainproof: {run.target.name}", bold=True)
            folder = shown(run.wanted.report_folder, run.config.invocation_params.dir)
            lines: Sequence[Sequence[Line | str]] = run.config.hook.pytest_drainproof_summary(
                results=results, folder=folder, width=width, written=not self._keeper.problem
            )
            for line in (line for of_one_report in reversed(lines) for line in of_one_report):
                text, style = (line, "") if isinstance(line, str) else line
                reporter.line(text, **dict.fromkeys(style.split(), True))
        for notice in run.gone:
            reporter.line(f"WARNING: {printable(notice)}", yellow=True)
        for problem in filter(None, [self._keeper.problem, *run.problems]):
            reporter.line(f"ERROR: {for_terminal(printable(run.redactor.text(problem)))}", red=True, bold=True)


class AfterErrors:
    """Called between pytest's ERRORS section and its short summary, which would tell of our errors once more."""

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Leaves our errors out of what comes next; `Summary` puts them back for the last line."""
        _leave_out_ours(terminalreporter, "error")


def _leave_out_ours(reporter: pytest.TerminalReporter, category: str) -> None:
    if category in reporter.stats:
        reporter.stats[category] = [report for report in reporter.stats[category] if outcome_of(report) is None]


def shown(path: Path, here: Path) -> Path:
    """`path` as a person in the folder `here` would write it: relative where that is shorter."""
    relative = os.path.relpath(path, here)
    return Path(relative) if len(relative) < len(str(path)) else path
