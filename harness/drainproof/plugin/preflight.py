"""Says what is likely to go wrong, before the first experiment."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Sequence

import pytest

from drainproof.plugin.naming import SCENARIO
from drainproof.plugin.run import Run
from drainproof.text import flat, printable
from drainproof.workflow_commands import for_terminal


class Preflight:
    """Asks the laboratory when there is something to run, and prints what it says."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Before the first test."""
        run = self._run
        has_scenarios = any(SCENARIO in item.stash for item in session.items)
        if has_scenarios and run.archive is None and not run.only_collects and not session.testsfailed:
            try:
                look = getattr(run.source(), "preflight", None)
                said = look() if look is not None else ()
            except Exception as error:  # it judges nothing: what keeps it from speaking, the experiments will meet too
                said = [f"failed: {type(error).__name__}: {error}"]
            self._print([run.redactor.text(text) for text in said])
        return (yield)

    def _print(self, found: Sequence[str]) -> None:
        reporter: pytest.TerminalReporter | None = self._run.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not found:
            return
        width = self._run.config.get_terminal_writer().fullwidth
        for text in found:
            for line in textwrap.wrap(
                f"preflight  {flat(printable(text))}", width, subsequent_indent=" " * 11, break_on_hyphens=False
            ):
                reporter.line(for_terminal(line), yellow=True)
