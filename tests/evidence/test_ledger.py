"""When is a ledger the ground of a verdict?"""

from __future__ import annotations

from dataclasses import replace

from drainproof.load.ledger import Ledger, LedgerSummary

from tests.evidence.test_requests import RIGHT

SUMMARY = LedgerSummary(
    issued=1,
    recorded=1,
    aborted=0,
    locust_requests=1,
    started_at=10.0,
    stopped_at=20.0,
    late_due=0,
    worst_lag=0.0,
    cpu_seconds=0.1,
    wall_seconds=10.0,
    scheduled=1,
)


def test_a_sound_ledger_has_no_problems() -> None:
    assert Ledger(requests=(RIGHT,), connections=(), summary=SUMMARY).problems() == []


def test_a_request_that_nobody_recorded_is_a_problem() -> None:
    ledger = Ledger(requests=(RIGHT,), connections=(), summary=replace(SUMMARY, issued=2, locust_requests=2))
    assert "does not reconcile: 2 issued, 1 recorded" in ledger.problems()[0]


def test_a_request_that_was_recorded_twice_is_a_problem() -> None:
    twice = replace(SUMMARY, issued=2, recorded=2, locust_requests=2)
    assert "1 unique ids" in Ledger(requests=(RIGHT, RIGHT), connections=(), summary=twice).problems()[0]


def test_lateness_counts_from_the_fault_on() -> None:
    late = replace(RIGHT, due=RIGHT.due - 2.0)
    ledger = Ledger(requests=(late,), connections=(), summary=SUMMARY)
    assert "could not keep its schedule: 1 of 1" in ledger.starvation(since=late.due)[0]
    assert ledger.starvation(since=late.due + 0.1) == []
