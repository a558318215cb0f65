"""Runs that share a column."""

from __future__ import annotations

from dataclasses import replace

from drainproof.verdict import Results
from drainproof_reports.merging import merge

from tests.commands.results import verdict


def part(*requirements: str, deselected: int, aborted: bool = False) -> Results:
    return Results(
        target={"name": "t", "manifest": {}},
        versions={},
        verdicts=tuple(verdict(requirement, "pass") for requirement in requirements),
        started="2026-11-20T15:40:11+00:00",
        seconds=1.0,
        aborted=aborted,
        deselected=deselected,
    )


def overall(*parts: Results) -> str:
    [column] = merge((str(number), each) for number, each in enumerate(parts)).columns
    return column.overall


def test_parts_that_make_a_whole_leave_nothing_open() -> None:
    assert overall(part("DRAIN-1", "DRAIN-2", deselected=1), part("EXIT-1", deselected=2)) == "conforming"


def test_parts_that_leave_something_out_are_incomplete() -> None:
    assert overall(part("DRAIN-1", deselected=2), part("EXIT-1", deselected=2)) == "incomplete"
    assert overall(part("DRAIN-1", deselected=2)) == "incomplete"
    assert overall(part("DRAIN-1", "EXIT-1", deselected=0, aborted=True), part("EXIT-1", deselected=1)) == "incomplete"


def test_the_worse_of_two_outcomes_counts_and_is_told_of() -> None:
    first = part("DRAIN-1", deselected=0)
    second = replace(first, verdicts=(verdict("DRAIN-1", "fail"),))
    for parts in ((first, second), (second, first)):
        grid = merge((str(number), each) for number, each in enumerate(parts))
        [column] = grid.columns
        assert (column.overall, column.contradictions) == ("not conforming", 1)
        [cell] = grid.rows[0].cells
        assert cell is not None
        assert (cell.outcome, cell.number, cell.checks) == ("fail", 1, 1)
