"""WIN: an event loop as on Windows, emulated on Linux. Every title and verdict here says that it is emulated."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from drainproof.faults.windows import REPORTED_AS
from drainproof.scenario import (
    Evidence,
    Experiment,
    Inconclusive,
    LaunchError,
    console_event,
    hold,
    launched,
    requirement,
    steady,
    when_every_worker_served,
    windows_loop,
)
from drainproof.target.windows import ConsoleEvent, exit_statuses

from drainproof_scenarios import _drain
from drainproof_scenarios._facts import Facts, ended
from drainproof_scenarios._inside import evidence_of_failed_start, require_shim_in_servers

IN_FLIGHT = 8
"""Requests that are held in flight."""

ENOUGH = 1
"""How many of them must be proven to be in flight and read by the server when the event comes. On a machine that is so
busy that the kernel's table takes long to read, most of them are answered before this can be said of them."""


ALL_LINES = 1_000_000
"""More lines of output than are kept."""

WHERE = "on an event loop as on Windows (emulated)"


def _run(experiment: Experiment, event: ConsoleEvent, workers: int) -> Evidence:
    """The experiment: starts, serves new, reused and slow requests, and gets the event when every worker has served."""
    try:
        return experiment.run(
            load=[
                steady(rate=20, connections="new"),
                steady(rate=20),
                hold(IN_FLIGHT, stagger=experiment.target.slow().duration / 2),
            ],
            given=[windows_loop()],
            faults=[when_every_worker_served(console_event(event))],
            workers=workers,
        )
    except LaunchError as error:  # that it does not start is what WIN-1 is about
        return evidence_of_failed_start(experiment, error)


@contextmanager
def _emulated() -> Iterator[None]:
    """Whatever is said in here of what failed, or of what could not be judged, says that it is emulated."""
    try:
        yield
    except Inconclusive as reason:
        if "emulated" in str(reason):
            raise
        raise Inconclusive(f"{WHERE}: {reason}") from reason
    except AssertionError as failure:
        if "emulated" in str(failure):
            raise
        raise AssertionError(f"{WHERE}: {failure}") from failure


@_emulated()
def _require_emulation(evidence: Evidence, facts: Facts) -> None:
    """Raises Unsupported (or what else is known) unless the code that serves has seen Windows."""
    facts(emulated=True)
    evidence.require_given()
    # Of a start that failed it is not known who serves. Whoever listens takes part in it: a front end that is no Python
    # and sees Linux hands things to its workers that there are not on Windows, which says nothing of it on Windows.
    servers = evidence.find("servers") or evidence.find("listening")
    if servers is not None:
        what = "Windows cannot be emulated in the process that serves"
        require_shim_in_servers(evidence.shim, servers, what=what, fired=REPORTED_AS)


def _require_start(evidence: Evidence) -> None:
    if evidence.launch_failure is not None:
        raise Inconclusive("it did not start on an event loop as on Windows (emulated), see WIN-1")


@_emulated()
def _stops_in_grace(evidence: Evidence, facts: Facts) -> None:
    _require_emulation(evidence, facts)
    _require_start(evidence)
    evidence.require()
    _drain.exits_in_grace(evidence, facts)


@_emulated()
def _answers_what_it_accepted(evidence: Evidence, facts: Facts) -> None:
    _require_emulation(evidence, facts)
    _require_start(evidence)
    _drain.accepted_are_answered(evidence, facts, at_least=ENOUGH)


@_emulated()
def _exit_status_is_right(evidence: Evidence, facts: Facts, event: ConsoleEvent) -> None:
    _require_emulation(evidence, facts)
    _require_start(evidence)
    evidence.require()
    ended(evidence)
    assert evidence.exit is not None
    allowed = exit_statuses(event, evidence.policy.exit_codes)
    facts(exit_status=evidence.exit.status, allowed=list(allowed))
    facts.summary(f"exit status {evidence.exit.status} after {event} (emulated)")
    facts.details("\n".join(evidence.output.tail(5, until=evidence.observed_until)))
    assert evidence.exit.status in allowed, (
        f"exit status {evidence.exit.status}; after {event} (emulated) the policy allows {', '.join(map(str, allowed))}"
    )


@launched("process")
class TestStartAndCtrlC:
    """A start on an event loop as on Windows (emulated), and Ctrl-C under load, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return _run(experiment, "Ctrl-C", workers)

    @requirement("WIN-1")
    def test_starts_and_serves(self, evidence: Evidence, facts: Facts) -> None:
        """It becomes ready where Unix's signals, calls and modules are missing, and answers requests rightly."""
        _require_emulation(evidence, facts)
        failure = evidence.launch_failure
        facts(started=failure is None)
        if failure is not None:
            first, _, rest = failure.partition("\n")
            facts.details(rest)
            raise AssertionError(f"it does not start on an event loop as on Windows (emulated): {first}")
        with _emulated():
            evidence.require()
        before = evidence.requests.before()
        wrong = before.not_answered()
        facts(requests_before_the_event=len(before), not_right=len(wrong), **_servers(evidence))
        facts.summary(f"it starts and serves on an event loop as on Windows (emulated): {len(before)} right answers")
        facts.details("\n".join(wrong.lines()))
        assert not wrong, f"on an event loop as on Windows (emulated) {len(wrong)} requests were not answered rightly"

    @requirement("WIN-2")
    def test_says_that_signals_are_limited(self, evidence: Evidence, facts: Facts) -> None:
        """A line of its output says that signal handling is limited (emulated)."""
        _require_emulation(evidence, facts)
        _require_start(evidence)
        said = _said_before_the_event(evidence)
        facts(says_it=bool(said))
        facts.summary(f"it says so on an event loop as on Windows (emulated): {said[0].strip() if said else ''}")
        assert said, "no line of its output says that signal handling is limited on Windows (emulated)"

    @requirement("WIN-3")
    def test_ctrl_c_stops_it_in_time(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period after Ctrl-C (emulated)."""
        _stops_in_grace(evidence, facts)

    @requirement("WIN-3")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every request that was accepted before Ctrl-C (emulated) is answered completely and rightly."""
        _answers_what_it_accepted(evidence, facts)

    @requirement("WIN-3")
    def test_exit_status(self, evidence: Evidence, facts: Facts) -> None:
        """The exit status after Ctrl-C (emulated) is one that the policy declares for SIGINT."""
        _exit_status_is_right(evidence, facts, "Ctrl-C")


@launched("process")
class TestCtrlBreak:
    """Ctrl-Break under load on an event loop as on Windows (emulated), {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return _run(experiment, "Ctrl-Break", workers)

    @requirement("WIN-3")
    def test_ctrl_break_stops_it_in_time(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period after Ctrl-Break (emulated)."""
        _stops_in_grace(evidence, facts)

    @requirement("WIN-3")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every request that was accepted before Ctrl-Break (emulated) is answered completely and rightly."""
        _answers_what_it_accepted(evidence, facts)

    @requirement("WIN-3")
    def test_exit_status(self, evidence: Evidence, facts: Facts) -> None:
        """The exit status after Ctrl-Break (emulated) is one that the policy declares for SIGBREAK."""
        _exit_status_is_right(evidence, facts, "Ctrl-Break")


def _said_before_the_event(evidence: Evidence) -> list[str]:
    """The lines that say so by themselves: what it says when it is told to stop comes too late for its operator."""
    pattern = re.compile(evidence.target.windows.says_limited, re.IGNORECASE)
    until = min((float(fault["t"]) for fault in evidence.faults), default=evidence.observed_until)
    return [line for line in evidence.output.tail(ALL_LINES, until=until) if pattern.search(line)]


def _servers(evidence: Evidence) -> dict[str, int]:
    servers = evidence.find("servers")
    return {"serving_processes": len(servers["pids"]), "declared_workers": servers["declared"]} if servers else {}
