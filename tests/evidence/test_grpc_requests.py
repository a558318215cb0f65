"""The fate of a gRPC call: a refusal is told from a loss by what was on the wire."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from drainproof.evidence.requests import RACE, UNFINISHED, Cut, Fate, Judged, RequestSet, judge_fate
from drainproof.load.ledger import RequestRecord
from drainproof.probes.history import Interval

RIGHT = RequestRecord(
    id=0,
    token="t",
    stream="calls",
    request="infer",
    due=10.0,
    connect_start=10.0,
    connected=10.001,
    send_start=10.003,
    sent=10.004,
    first_byte=10.5,
    end=10.5,
    port=40000,
    reused=False,
    sequence=1,
    bytes_sent=100,
    bytes_received=100,
    status=0,
    right=True,
    wrong=None,
    close_announced=False,
    phase=None,
    cause=None,
    error=None,
    protocol="grpc",
    messages=1,
)
WRONG = replace(RIGHT, right=False, messages=0, end=10.1)
LOST = replace(RIGHT, right=False, status=None, first_byte=None, phase="waiting", cause="eof", end=10.1, messages=0)
UNSENT = replace(LOST, phase="send", send_start=None, sent=None)
CANCELLED, NOT_FOUND, UNAVAILABLE = 1, 5, 14


@pytest.mark.parametrize(
    ("record", "fate"),
    [
        (RIGHT, "right"),
        (replace(WRONG, status=UNAVAILABLE), "unavailable"),
        (replace(WRONG, status=503), "wrong"),
        (replace(WRONG, status=UNAVAILABLE, torn=True), "wrong"),
        (replace(WRONG, status=NOT_FOUND), "wrong"),
        (replace(WRONG, status=0, wrong="no token"), "wrong"),
        # CANCELLED is what the server's library answers to a call that crosses its GOAWAY, and only then.
        (replace(WRONG, status=CANCELLED), "wrong"),
        (replace(WRONG, status=CANCELLED, close_announced=True), "crossing"),
        (replace(WRONG, status=CANCELLED, close_announced=True, end=10.1 + 2 * RACE), "wrong"),
        (replace(WRONG, status=CANCELLED, close_announced=True, messages=1), "wrong"),
        # Not looked at, by the server's own word.
        (replace(LOST, cause="stream_refused"), "refused"),
        (replace(LOST, cause="stream_refused", end=20.0), "refused"),
        (replace(LOST, cause="stream_refused", first_byte=10.05, phase="body"), "cut"),
        (replace(LOST, phase="connect", cause="refused", connected=None), "refused"),
        # Never left: the server has not said its first word.
        (UNSENT, "refused"),
        (replace(UNSENT, cause="reset"), "refused"),
        (replace(UNSENT, end=10.1 + UNFINISHED), "dropped"),
        (replace(UNSENT, cause="timeout", end=40.0), "hung"),
        (replace(UNSENT, cause="aborted", reused=True, connect_start=None, offered=10.0, end=15.0), "hung"),
        (replace(UNSENT, cause="aborted", reused=True, connect_start=None, offered=14.0, end=15.0), "unfinished"),
        # It waited for a connection that others had begun long before.
        (replace(UNSENT, offered=10.0 + UNFINISHED, end=10.1 + UNFINISHED), "refused"),
        # Lost, whatever the client's library calls it.
        (replace(LOST, acknowledged=True), "dropped"),
        # It crossed a GOAWAY that did not exclude it, unless it had been there for longer than that takes.
        (replace(LOST, acknowledged=True, close_announced=True), "crossing"),
        (replace(LOST, acknowledged=True, close_announced=True, end=10.1 + RACE), "dropped"),
        (replace(LOST, close_announced=True, cause="stream_reset"), "dropped"),
        (replace(LOST, close_announced=True, first_byte=10.05, phase="body"), "cut"),
        (replace(LOST, cause="stream_reset"), "dropped"),
        (replace(LOST, cause="stream_reset", first_byte=10.05, phase="body"), "cut"),
        (replace(LOST, first_byte=10.05, phase="body"), "cut"),
        (replace(LOST, reused=True, connect_start=None, acknowledged=False), "crossing"),
        (replace(LOST, cause="aborted"), "unfinished"),
        (replace(LOST, cause="aborted", end=15.0), "hung"),
    ],
)
def test_fate(record: RequestRecord, fate: Fate) -> None:
    assert judge_fate(record, duration=0.5, closings=[]) == fate


def test_the_accept_queue_is_that_of_its_own_port() -> None:
    record = replace(LOST, cause="reset")
    assert judge_fate(record, duration=0.5, closings=[Interval(earliest=10.05, latest=10.12)]) == "backlog"
    assert judge_fate(record, duration=0.5, closings=[]) == "dropped"


def test_what_was_accepted_is_told_by_the_table_of_its_own_port() -> None:
    def judged(**changes: Any) -> Judged:
        return Judged(record=replace(RIGHT, **changes), fate="right", duration=0.5)

    grpc = Cut(table=10.2, t=10.3, read=frozenset({40000}), accepted=frozenset({40000, 40001}))
    cut = Cut(table=10.1, t=10.3, read=frozenset({40001}), accepted=frozenset({40001}), grpc=grpc)
    calls = [judged(id=0), judged(id=1, port=40001), judged(id=2, protocol="http", port=40000)]
    requests = RequestSet([*calls, judged(id=3, protocol="http", port=40001)], cut)
    assert [j.record.id for j in requests.accepted()] == [0, 3]
    assert [j.record.id for j in requests.protocol("grpc").accepted()] == [0]
    early = judged(port=40001, send_start=10.2 - 2 * RACE, sent=10.2 - 2 * RACE)
    assert len(RequestSet([early], cut).kept_waiting()) == 1
