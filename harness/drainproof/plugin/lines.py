"""The live output: a line per scenario, with the phase of its experiment while it runs and its verdicts at the end.

It takes the place of pytest's dots, and only of those: with `-v`, `-q`, pytest-xdist, or other tests among the checks,
pytest's own output stays, with our letters and words.

    drain  SIGTERM to the main process under load, 1 worker                                    4.1 s
           ✓ DRAIN-1,2,3,5,6,8,10 EXIT-1,3,4,5,6
    drain  SIGINT to the main process under load, 1 worker                                     9.0 s
           ✓ DRAIN-2,3,5,6,8,10 EXIT-3,4,5,6
           FAIL DRAIN-1  3 of 24 accepted requests were not answered

A red verdict whose reason does not fit beside its requirements has it below, on lines of its own.
"""

from __future__ import annotations

import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import pytest

from drainproof.plugin.naming import CHECK, SCENARIO, Scenario
from drainproof.plugin.outcomes import KNOWN, STATUS, status_of, verdict_of
from drainproof.plugin.run import Run, silent
from drainproof.text import Line, flat, shortened
from drainproof.verdict import RED, Outcome, Verdict
from drainproof.workflow_commands import for_terminal

NARROW = 116
"""On a terminal of fewer columns, the verdicts get a line of their own."""

REASON_LINES = 3
"""What a reason may take; all of it is in the summary at the end."""

ORDER: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "note", "unsupported")
ASCII = str.maketrans({"✓": "+", "…": "~"})
"""For terminals that cannot show them."""


class Screen:
    """pytest's terminal, of which the last line may be preliminary: the next one is written over it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        terminal: object = getattr(self._reporter, "isatty", False)  # a plain value in older versions of pytest
        self._on_terminal = bool(terminal() if callable(terminal) else terminal)
        self._preliminary = False
        self._unicode = "utf" in str(getattr(sys.__stdout__, "encoding", "")).lower()

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        return 80 if self._reporter is None else self._config.get_terminal_writer().fullwidth

    def preliminary(self, text: str) -> None:
        """Shows `text` until the next line comes, where a terminal can do that."""
        if self._on_terminal:
            shown = shortened(text, self.width - 1)
            self._write(lambda reporter: reporter.rewrite(self._encodable(shown), erase=True))
            self._preliminary = True

    def lines(self, lines: Iterable[Line]) -> None:
        """Shows lines for good."""
        if self._preliminary:
            self._preliminary = False
            self._write(lambda reporter: reporter.rewrite("", erase=True))
            self._write(lambda reporter: reporter.rewrite(""))
        for line in lines:
            style = dict.fromkeys(line.style.split(), True)
            self._write(
                lambda reporter, line=line, style=style: reporter.line(
                    for_terminal(self._encodable(line.text)), **style
                )
            )

    def _encodable(self, text: str) -> str:
        return text if self._unicode else text.translate(ASCII)

    def _write(self, how: Callable[..., None]) -> None:
        """Lets `how` write, although pytest captures what is written while a test runs."""
        if self._reporter is None:
            return
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if capture is None:
            how(self._reporter)
            self._reporter.flush()
            return
        with capture.global_and_fixture_disabled():
            how(self._reporter)
            self._reporter.flush()


class LiveOutput:
    """The hooks that show how the run goes."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._screen: Screen | None = None
        self._scenario: Scenario | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._began = 0.0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Takes pytest's dots away if all that runs are checks, and nobody asked for another output."""
        config = session.config
        reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None:  # `-p no:terminal`: the options below do not exist either
            return
        plain = config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES) == 0 and config.option.verbose == 0
        distributed = self._run.in_worker or config.getoption("dist", "no") != "no"
        if not plain or distributed or self._run.only_collects:
            return
        if session.items and all(CHECK in item.stash for item in session.items):
            reporter.showfspath = False
            reporter._show_progress_info = (
                False  # older versions of pytest print [100%] even where they printed nothing
            )
            self._screen = Screen(config)
            self._screen.lines([Line("")])
            self._run.progress = self._phase

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, str | tuple[str, Mapping[str, bool]]] | None:
        """Category, letter and word of a verdict."""
        verdict = verdict_of(report)
        if verdict is None:
            return None
        category, letter, word, colour = status_of(verdict)
        if self._screen is not None:
            return category, "", ""
        return category, letter, (word, {colour: True})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notes the verdict for the end of the scenario."""
        verdict = verdict_of(report)
        if verdict is not None:
            self._verdicts[verdict.check] = verdict

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Says which scenario runs, and at its end what came out."""
        scenario = item.stash.get(SCENARIO, None)
        self._run.scenario = scenario
        if scenario is not None and self._scenario is not scenario:
            self._scenario, self._began = scenario, time.monotonic()
            self._verdicts = {}
            self._phase("")
        result = yield
        if scenario is not None and (nextitem is None or nextitem.stash.get(SCENARIO, None) is not scenario):
            self._conclude()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """A session that is stopped shows what it has of the scenario that was running."""
        try:
            return (yield)
        finally:
            self._conclude()
            self._run.progress = silent

    def _phase(self, text: str) -> None:
        scenario = self._scenario
        if self._screen is not None and scenario is not None:
            self._screen.preliminary(f"{scenario.family:<6} {scenario.title} … {text}")

    def _conclude(self) -> None:
        scenario, self._scenario = self._scenario, None
        if self._screen is not None and scenario is not None and self._verdicts:
            took = time.monotonic() - self._began
            self._screen.lines(
                scenario_lines(scenario, tuple(self._verdicts.values()), seconds=took, width=self._screen.width)
            )


def scenario_lines(scenario: Scenario, verdicts: Sequence[Verdict], *, seconds: float, width: int) -> list[Line]:
    """What is shown of a scenario that has ended: its title and time, what passed, and each other verdict on a line."""
    indent = " " * 7
    beside = width - len(indent)
    narrow = width < NARROW
    room = (width if narrow else 76) - 8
    head = shortened(f"{scenario.family:<6} {scenario.title}", room)
    time_text = f"{seconds:.1f} s"
    first = f"{head:<{room}}{time_text:>8}"
    others = {v.requirement for v in verdicts if v.verdict != "pass"}
    passed = compact([v.requirement for v in verdicts if v.requirement not in others])
    lines = []
    if passed and not narrow and len(first) + 4 + len(passed) <= width:
        lines.append(Line(f"{first}  ✓ {passed}"))
    else:
        lines.append(Line(first))
        lines += [Line(indent + shortened(f"✓ {passed}", beside))] if passed else []
    for outcome, known in itertools.product(ORDER, (False, True)):
        by_summary: dict[str, list[str]] = {}
        for verdict in verdicts:
            if verdict.verdict == outcome and (verdict.known is not None) == known:
                by_summary.setdefault(verdict.summary, []).append(verdict.requirement)
        loud = outcome in RED and not known
        colour = KNOWN[3] if known else STATUS[outcome][3]
        for summary, ids in by_summary.items():
            word = STATUS[outcome][2] if loud else f"known {outcome}" if known else outcome
            text = f"{word} {compact(ids)}  {summary}"
            if loud and len(flat(text)) > beside:
                told = [shortened(f"{word} {compact(ids)}", beside), *reason(summary, beside)]
            else:
                told = [shortened(text, beside)]
            lines += [Line(indent + part, colour) for part in told]
    return lines


def reason(summary: str, width: int) -> list[str]:
    """Why a verdict is red, wrapped to a few lines."""
    indent = "  "
    return textwrap.wrap(
        flat(summary),
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        max_lines=REASON_LINES,
        placeholder=" …",
    )


def compact(ids: Iterable[str]) -> str:
    """`DRAIN-1,2 EXIT-1` for `DRAIN-1`, `DRAIN-2`, `EXIT-1`."""
    families: dict[str, list[str]] = {}
    for each in dict.fromkeys(ids):
        family, _, number = each.rpartition("-")
        families.setdefault(family, []).append(number)
    return " ".join(f"{family}-{','.join(numbers)}" for family, numbers in families.items())
