"""What a whole run says, and its way to JSON and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drainproof.verdict import (
    OUTCOMES,
    WORST_FIRST,
    Bundle,
    Gate,
    Known,
    Outcome,
    Overall,
    Results,
    Stale,
    Verdict,
    repeated,
    without_repetition,
)
from drainproof_reports import results_json
from hypothesis import given
from hypothesis import strategies as st


def verdict(outcome: Outcome, *, level: str = "MUST") -> Verdict:
    return Verdict(
        requirement="DRAIN-1",
        level=level,  # type: ignore[arg-type]
        rule="…",
        scenario=f"drain.{outcome}",
        title="…",
        verdict=outcome,
        summary="…",
    )


def results(*outcomes: Outcome) -> Results:
    return Results(
        target={"name": "t", "folder": "/t", "manifest": {}},
        versions={"drainproof": "0", "python": "3", "platform": "Linux", "target": {}},
        verdicts=tuple(verdict(outcome) for outcome in outcomes),
        started="2026-11-20T15:40:11+00:00",
        seconds=1.0,
        aborted=False,
    )


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        (["pass", "unsupported"], "conforming"),
        (["pass", "note"], "conforming with notes"),
        (["pass", "note", "inconclusive"], "incomplete"),
        (["pass", "error"], "incomplete"),
        (["unsupported"], "incomplete"),
        ([], "incomplete"),
        (["pass", "error", "fail"], "not conforming"),
    ],
)
def test_the_verdict_on_the_whole(outcomes: list[Outcome], expected: Overall) -> None:
    assert results(*outcomes).overall == expected


def test_a_run_that_did_not_look_at_everything_is_incomplete() -> None:
    assert replace(results("pass"), deselected=1).overall == "incomplete"
    assert replace(results("pass"), aborted=True).overall == "incomplete"


def test_a_failure_decides_although_it_is_known_and_the_run_did_not_reach_its_end() -> None:
    known = replace(verdict("fail"), known=Known(id="DRAIN-1", reason="…", link=""))
    assert replace(results("pass"), verdicts=(known,), aborted=True).overall == "not conforming"


def test_the_way_to_json_and_back() -> None:
    known = Known(id="DRAIN-1", reason="a fix is under way", link="https://example.org/1")
    there = replace(
        results("pass", "fail"),
        bundle=Bundle(folder="evidence/x", digests="ab"),
        gate=Gate(rule="must", passed=False, reasons=("DRAIN-1 fails",), remarks=("EXIT-1 is known",)),
        stale=(Stale(known=known, why="it holds now"),),
        deselected=2,
        specification="2026.11",
    )
    there = replace(there, verdicts=(there.verdicts[0], replace(there.verdicts[1], known=known, repetition=3)))
    assert Results.from_json(results_json.document(there)) == there


@given(st.text(), st.integers(1, 10**6))
def test_the_id_of_a_repeated_scenario_and_back(scenario: str, number: int) -> None:
    assert without_repetition(repeated(scenario, number), number) == scenario
    assert without_repetition(scenario, 0) == scenario


def test_ids_of_repeated_scenarios() -> None:
    assert repeated("drain.TestStop[SIGTERM-main-1w]", 2) == "drain.TestStop[SIGTERM-main-1w-r2]"
    assert repeated("drain.TestStop", 12) == "drain.TestStop[r12]"


def test_of_repeated_runs_the_worst_one_counts() -> None:
    assert set(WORST_FIRST) == set(OUTCOMES)
    runs = [
        replace(verdict(outcome), scenario=repeated("drain.TestStop", number), repetition=number)
        for number, outcome in enumerate(("pass", "inconclusive", "fail", "note"), 1)
    ]
    [once] = replace(results(), verdicts=tuple(runs)).once().verdicts
    assert (once.scenario, once.verdict, once.repetition) == ("drain.TestStop", "fail", 0)
    other = replace(verdict("pass"), check="another")
    assert replace(results(), verdicts=(*runs[:1], other)).once().verdicts[1] == other
