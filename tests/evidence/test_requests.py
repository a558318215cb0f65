"""The fate of a request, and what counts as accepted before a fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drainproof.evidence.requests import RACE, Cut, Fate, Judged, RequestSet, judge_fate
from drainproof.load.ledger import RequestRecord
from drainproof.probes.history import Interval

RIGHT = RequestRecord(
    id=0,
    token="t",
    stream="steady",
    request="predict",
    due=10.0,
    connect_start=10.0,
    connected=10.001,
    send_start=10.001,
    sent=10.002,
    first_byte=10.5,
    end=10.5,
    port=40000,
    reused=False,
    sequence=1,
    bytes_sent=100,
    bytes_received=100,
    status=200,
    right=True,
    wrong=None,
    close_announced=False,
    phase=None,
    cause=None,
    error=None,
)
LOST = replace(
    RIGHT, status=None, right=False, first_byte=None, bytes_received=0, phase="waiting", cause="reset", end=10.1
)
REUSED = replace(LOST, reused=True, connect_start=None, connected=None, sequence=2)
CLOSING = Interval(earliest=10.05, latest=10.12)


@pytest.mark.parametrize(
    ("record", "closings", "fate"),
    [
        (RIGHT, [], "right"),
        (replace(RIGHT, right=False, status=503), [], "unavailable"),
        (replace(RIGHT, right=False, status=404), [], "wrong"),
        (replace(RIGHT, right=False, status=200, wrong="no token"), [], "wrong"),
        (replace(LOST, phase="connect", cause="refused", connected=None, sent=None), [], "refused"),
        (replace(LOST, phase="connect", cause="connect_timeout", connected=None, sent=None), [], "hung"),
        (replace(LOST, cause="timeout"), [], "hung"),
        (replace(LOST, first_byte=10.05, phase="head"), [CLOSING], "cut"),
        (replace(LOST, first_byte=10.05, phase="body", cause="eof"), [CLOSING], "cut"),
        # A new connection: reset in the moment of the closing is the accept queue, everything else was dropped.
        (LOST, [CLOSING], "backlog"),
        (LOST, [], "dropped"),
        (replace(LOST, end=10.04), [CLOSING], "dropped"),
        (replace(LOST, cause="eof", acknowledged=True), [CLOSING], "dropped"),
        (replace(LOST, cause="eof", acknowledged=False), [CLOSING], "backlog"),
        (replace(LOST, end=10.0 + 2 * RACE), [Interval(earliest=10.9, latest=11.1)], "dropped"),
        # A reused connection: what never reached the server, or was reset unread, crossed the closing.
        (REUSED, [], "crossing"),
        (replace(REUSED, cause="eof", acknowledged=False), [], "crossing"),
        (replace(REUSED, cause="eof", acknowledged=True), [], "dropped"),
        (replace(REUSED, cause="eof"), [], "dropped"),
        (replace(REUSED, end=10.0 + 2 * RACE), [], "dropped"),
        # The end of the load says nothing about a young request, but much about an old one.
        (replace(LOST, cause="aborted", end=10.5), [], "unfinished"),
        (replace(LOST, cause="aborted", end=15.0), [], "hung"),
    ],
)
def test_fate(record: RequestRecord, closings: list[Interval], fate: Fate) -> None:
    assert judge_fate(record, duration=0.5, closings=closings) == fate


def judged(**changes: object) -> Judged:
    record = replace(RIGHT, **changes)  # type: ignore[arg-type]
    return Judged(record=record, fate=judge_fate(record, duration=0.5, closings=[]), duration=0.5)


def test_accepted_needs_the_socket_table() -> None:
    cut = Cut(table=10.1, t=10.11, read=frozenset({1, 4, 5}))
    requests = RequestSet(
        [
            judged(id=0, port=1),
            judged(id=1, port=2),  # in flight, but not accepted or not read
            judged(id=2, port=3, end=10.05),  # answered before
            judged(id=3, port=4, sent=10.105),  # sent after the table was read
            judged(id=4, port=5, connect_start=10.2, send_start=10.2, sent=10.2),  # after the fault
        ],
        cut,
    )
    assert [j.record.id for j in requests.in_flight()] == [0, 1, 3]
    assert [j.record.id for j in requests.accepted()] == [0]
    assert [j.record.id for j in requests.arrived_after()] == [4]
    assert [j.record.id for j in requests.before()] == [2]


def test_before_and_after_need_a_fault() -> None:
    with pytest.raises(ValueError, match="no fault"):
        RequestSet([judged()]).accepted()


def test_who_was_kept_waiting_unread_is_no_race() -> None:
    cut = Cut(table=11.0, t=11.001, read=frozenset(), accepted=frozenset({1, 2}))
    requests = RequestSet(
        [
            judged(id=0, port=1, end=11.1),  # accepted, and unread for a second
            judged(id=1, port=2, sent=10.9, end=11.1),  # accepted, and had just come
            judged(id=2, port=3, end=11.1),  # still in the accept queue
        ],
        cut,
    )
    assert [j.record.id for j in requests.kept_waiting()] == [0]
