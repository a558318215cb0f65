"""From what happened in a test to a verdict, and from the verdict to what pytest counts and prints.

The class of an exception decides, and where it was raised:

| what | where | verdict |
|---|---|---|
| nothing | | pass |
| AssertionError, `pytest.fail` | in the check (not in the engine) | fail; note if the requirement is a SHOULD |
| `Inconclusive`, `pytest.skip` | set-up or check | inconclusive |
| `LaunchError` | set-up or check | inconclusive: the target did not start |
| `Unsupported` | set-up or check | unsupported |
| anything else | anywhere | error: the harness or the scenario failed, not the target |

A verdict travels in the test report, as JSON values, so that it comes back from a worker of pytest-xdist.
"""

from __future__ import annotations

import inspect
import os
import textwrap
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from drainproof.errors import DrainproofError, Inconclusive, LaunchError, Unsupported
from drainproof.plugin import naming
from drainproof.plugin.fixtures import FACTS, Facts
from drainproof.plugin.naming import CHECK, Check
from drainproof.plugin.run import Run
from drainproof.redaction import Redactor
from drainproof.requirement import Level
from drainproof.target.modes import IN_WORDS
from drainproof.text import json_value, printable
from drainproof.verdict import RED, Fact, Outcome, Verdict
from drainproof.workflow_commands import for_terminal

STATUS: dict[Outcome, tuple[str, str, str, str]] = {
    "pass": ("passed", ".", "PASS", "green"),
    "fail": ("failed", "F", "FAIL", "red"),
    "note": ("note", "n", "NOTE", "yellow"),
    "inconclusive": ("inconclusive", "I", "INCONCLUSIVE", "red"),
    "unsupported": ("unsupported", "u", "UNSUPPORTED", "yellow"),
    "error": ("error", "E", "ERROR", "red"),
}
"""For each verdict: the category that pytest counts, the letter, the word, the colour."""

KNOWN = ("known", "k", "KNOWN", "yellow")
"""The same for a failure that is declared as known."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict before it is dressed with names and facts."""

    outcome: Outcome
    summary: str = ""
    details: str = ""


JUDGED = pytest.StashKey[Judgement]()
SPENT = pytest.StashKey[float]()
"""Seconds that a test has taken so far."""


class Outcomes:
    """The hooks that make verdicts. They run where the test runs, which may be a worker of pytest-xdist."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._versions_sent = False
        self._shown: dict[str, tuple[BaseException, str]] = {}
        """By scenario id, the last failure of the harness and the check that it was shown for."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judges a phase of a check, and makes harmless what pytest reports of any test."""
        check = item.stash.get(CHECK, None)
        if check is not None and call.excinfo is not None and isinstance(call.excinfo.value, DrainproofError):
            call.excinfo = _without_its_way(call.excinfo.value)
        report = yield
        if check is not None:
            self._judge(item, call, check, report)
        _make_harmless(report, self._run.redactor)
        return report

    def _judge(self, item: pytest.Item, call: pytest.CallInfo[None], check: Check, report: pytest.TestReport) -> None:
        """Makes the report say the verdict."""
        item.stash[SPENT] = item.stash.get(SPENT, 0.0) + call.duration
        excinfo = call.excinfo
        if excinfo is None and call.when != "call":
            return
        if call.when == "teardown" and item.stash.get(JUDGED, Judgement(outcome="pass")).outcome in RED:
            return  # the check has its verdict; pytest tells of the failed clean-up
        judged = judge(
            excinfo.value if excinfo is not None else None,
            when=call.when,
            level=check.requirement.level,
            said=_words_of(item),
        )
        item.stash[JUDGED] = judged
        verdict = self._run.redactor.verdict(self._verdict(item, check, judged))
        dress(report, verdict)
        if judged.outcome == "error" and excinfo is not None:
            self._show_once(report, excinfo.value, check)

    def _verdict(self, item: pytest.Item, check: Check, judged: Judgement) -> Verdict:
        facts = item.stash.get(FACTS, None) or Facts()
        folder = self._run.experiment_folders.get(check.scenario.id)
        details = [json_value(judged.details), facts.details_text]
        spent = item.stash.get(SPENT, 0.0)
        verdict = Verdict(
            requirement=check.requirement.id,
            level=check.requirement.level,
            rule=check.requirement.rule,
            scenario=check.scenario.id,
            title=check.scenario.title,
            check=check.name,
            verdict=judged.outcome,
            summary=json_value(judged.summary),
            facts={**facts.values, **self._emulation()},
            evidence=None if folder is None else relative(folder, self._run.wanted.report_folder),
            repeat=check.scenario.repeat,
            duration=round(spent, 3),
            details="\n".join(text for text in details if text),
            repetition=check.scenario.repetition,
        )
        known = self._run.asked.known
        return verdict if known is None else replace(verdict, known=known.about(verdict))

    def _emulation(self) -> dict[str, Fact]:
        """What every verdict says where the launch itself is emulated."""
        launch = self._run.target.launch
        return {"launched_as": IN_WORDS[launch]} if launch == "systemd" else {}

    def _show_once(self, report: pytest.TestReport, error: BaseException, check: Check) -> None:
        """Checks that share a fixture share its failure: it is shown for the first of them only.

        A failure that the engine raises on purpose says all in its text; any other is shown with its traceback.
        """
        last, shown_for = self._shown.get(check.scenario.id, (None, ""))
        if last is not None and (last is error or (type(last), str(last)) == (type(error), str(error))):
            report.longrepr = f"the same failure as in {shown_for}"
            return
        self._shown[check.scenario.id] = (error, check.name)
        if isinstance(error, DrainproofError):
            report.longrepr = printable(str(error))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a worker: sends what is known of the target's environment along, once."""
        if self._run.in_worker and self._run.versions and not self._versions_sent:
            self._versions_sent = True
            report.drainproof_versions = self._run.versions  # type: ignore[attr-defined]  # reports take any attribute


def _make_harmless(report: pytest.TestReport, redactor: Redactor) -> None:
    """Hides secrets in what pytest would show, and keeps it from giving commands to GitHub Actions.

    That is: tracebacks, and what was printed while the test ran.
    """

    def harmless(text: str) -> str:
        return for_terminal(redactor.text(text))

    report.sections = [(name, harmless(text)) for name, text in report.sections]
    found = report.longrepr
    if isinstance(found, tuple):
        path, line, reason = found
        report.longrepr = path, line, harmless(reason)
    elif found is not None and (text := harmless(str(found))) != str(found):
        report.longrepr = text


def _without_its_way(error: DrainproofError) -> pytest.ExceptionInfo[BaseException]:
    """An error that says all in its text, with its innermost frame alone.

    pytest would parse the source of every frame of it and of its causes, for each check of a scenario anew, to write a
    traceback that nobody is shown: without a Docker engine that took more time than everything else.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    error.__cause__, error.__suppress_context__ = None, True
    return pytest.ExceptionInfo.from_exception(error.with_traceback(trace))


def judge(error: BaseException | None, *, when: str, level: Level, said: tuple[str, str]) -> Judgement:
    """The verdict on what one phase of a check raised.

    `said` is what the check says of itself: its own words about what it measured (may be empty), and about what it
    checks.
    """
    measured, claim = said
    if error is None:
        return Judgement(outcome="pass", summary=measured or claim)
    text = str(error)
    judged = None if when == "teardown" else _not_judged(error)
    if judged is not None:
        return judged
    if when == "call" and isinstance(error, (AssertionError, pytest.fail.Exception)) and not _raised_by_us(error):
        outcome: Outcome = "note" if level == "SHOULD" else "fail"
        summary, details = _assertion(text)
        return Judgement(outcome=outcome, summary=summary or measured or f"does not hold: {claim}", details=details)
    where = {"setup": "while the experiment was run", "teardown": "in the clean-up"}.get(when, "in the check")
    summary = f"{type(error).__name__} {where}: {_first_line(text)}"
    return Judgement(outcome="error", summary=summary, details=_rest(text))


def _not_judged(error: BaseException) -> Judgement | None:
    """What an exception says that stands for "no judgement is possible"; None for any other."""
    text = str(error)
    if isinstance(error, Unsupported):
        return Judgement(outcome="unsupported", summary=_first_line(text), details=_rest(text))
    if isinstance(error, Inconclusive):
        return Judgement(outcome="inconclusive", summary=_first_line(text), details=_rest(text))
    if isinstance(error, LaunchError):
        summary = f"the target did not start: {_first_line(text)}"
        return Judgement(outcome="inconclusive", summary=summary, details=_rest(text))
    if isinstance(error, pytest.skip.Exception):
        return Judgement(outcome="inconclusive", summary=f"skipped: {_first_line(text)}")
    return None


def _assertion(text: str) -> tuple[str, str]:
    """What an assertion says: its own message and nothing else, or no message and pytest's explanation."""
    message = text.partition("\nassert ")[0]
    if not message or message.startswith("assert "):
        return "", text
    return _first_line(message), _rest(message)


def _raised_by_us(error: BaseException) -> bool:
    """Whether the innermost frame belongs to the engine, whose own assertions say nothing about the target."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("drainproof.")


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _rest(text: str) -> str:
    return textwrap.dedent(text.strip().partition("\n")[2]).strip("\n")


def _words_of(item: pytest.Item) -> tuple[str, str]:
    facts = item.stash.get(FACTS, None)
    function = getattr(item, "function", None)
    claim = (inspect.getdoc(function) or "").strip().partition("\n")[0].rstrip(".")
    if not claim:
        claim = naming.in_words(getattr(item, "originalname", item.name))
    return ("" if facts is None else facts.summary_text), claim


def dress(report: pytest.TestReport, verdict: Verdict) -> None:
    """Makes a report of pytest say what the verdict says."""
    outcome = verdict.verdict
    report.drainproof_verdict = verdict.to_json()  # type: ignore[attr-defined]  # reports take any attribute
    vars(report).pop("wasxfail", None)  # a mark cannot make a broken promise expected
    if outcome in ("pass", "note") or verdict.known is not None:
        report.outcome, report.longrepr = "passed", None
    elif outcome == "unsupported":
        fspath, line, _ = report.location
        report.outcome, report.longrepr = "skipped", (fspath, line or 0, printable(verdict.summary))
    else:
        report.outcome = "failed"
        if outcome != "error":
            report.longrepr = printable("\n".join(filter(None, [verdict.summary, verdict.details])))


def verdict_of(report: object) -> Verdict | None:
    """The verdict that a report carries."""
    content: dict[str, Any] | None = getattr(report, "drainproof_verdict", None)
    return None if content is None else Verdict.from_json(content)


def status_of(verdict: Verdict) -> tuple[str, str, str, str]:
    """Category, letter, word and colour of a verdict."""
    return STATUS[verdict.verdict] if verdict.known is None else KNOWN


def outcome_of(report: object) -> Outcome | None:
    """The outcome of the verdict that a report carries."""
    content: dict[str, Any] | None = getattr(report, "drainproof_verdict", None)
    return None if content is None else content["verdict"]


def relative(path: Path, start: Path) -> str:
    """`path` as seen from the folder `start`."""
    return os.path.relpath(path, start)
