"""What differs between two runs."""

from __future__ import annotations

import pytest
from drainproof.comparison import compare
from drainproof.verdict import OUTCOMES, Outcome, Results, Verdict


def results(**outcomes: Outcome) -> Results:
    """A run with one check for each name."""
    return Results(
        target={},
        versions={},
        verdicts=tuple(
            Verdict(
                requirement="DRAIN-1",
                level="MUST",
                rule="",
                scenario="drain.TestStop",
                title="",
                check=check,
                verdict=outcome,
                summary=outcome,
            )
            for check, outcome in outcomes.items()
        ),
        started="2026-11-20T15:40:11+00:00",
        seconds=1.0,
        aborted=False,
    )


@pytest.mark.parametrize(
    "old, new, kind, regression",
    [
        ("pass", "fail", "worse", True),
        ("pass", "note", "worse", True),
        ("note", "fail", "worse", True),
        ("fail", "pass", "better", False),
        ("fail", "note", "better", False),
        ("pass", "inconclusive", "untested", True),
        ("pass", "unsupported", "untested", True),
        ("note", "error", "untested", True),
        ("fail", "inconclusive", "untested", False),
        ("inconclusive", "pass", "new", False),
        ("error", "fail", "new", False),
        ("unsupported", "note", "new", False),
    ],
)
def test_kinds(old: Outcome, new: Outcome, kind: str, regression: bool) -> None:
    comparison = compare(results(a=old), results(a=new))
    [change] = comparison.changes
    assert (change.kind, change.regression) == (kind, regression)
    assert (change.requirement, change.scenario, change.check) == ("DRAIN-1", "drain.TestStop", "a")
    assert change.old and change.old.summary == old
    assert change.new and change.new.summary == new
    assert comparison.regressions == ((change,) if regression else ())


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_same_is_no_change(outcome: Outcome) -> None:
    comparison = compare(results(a=outcome, b="pass"), results(b="pass", a=outcome))
    assert comparison.changes == ()
    assert comparison.unchanged == 2


def test_a_check_that_only_one_run_has() -> None:
    comparison = compare(results(gone="pass", lost="fail"), results(added="fail"))
    assert [(c.check, c.kind, c.regression) for c in comparison.changes] == [
        ("added", "new", False),
        ("gone", "untested", True),
        ("lost", "untested", False),
    ]


def test_a_check_that_was_never_judged_may_go() -> None:
    comparison = compare(results(a="unsupported", b="inconclusive"), results(b="unsupported"))
    assert comparison.changes == ()
    assert comparison.unchanged == 2
