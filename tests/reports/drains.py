"""Evidence of a drain that never was, written as a run writes it, for whoever shows evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from drainproof.load.ledger import LedgerSummary, RequestRecord, write_line
from drainproof.load.plan import Request
from drainproof.recorder import LEDGER, OUTPUT, Recorder
from drainproof.target.description import Policy, Target
from drainproof.verdict import Results, Verdict

LAUNCH, LOAD, SIGNAL, EXIT = 90.0, 98.0, 100.0, 101.0
"""Moments of the drain."""

ANSWERED = RequestRecord(
    id=0,
    token="t",
    stream="steady-new",
    request="fast",
    due=0.0,
    connect_start=0.0,
    connected=0.0,
    send_start=0.0,
    sent=0.0,
    first_byte=0.0,
    end=0.0,
    port=1,
    reused=False,
    sequence=1,
    bytes_sent=1,
    bytes_received=1,
    status=200,
    right=True,
    wrong=None,
    close_announced=False,
    phase=None,
    cause=None,
    error=None,
)
CUT = replace(ANSWERED, status=None, right=False, phase="body", cause="eof")
REFUSED = replace(
    ANSWERED,
    connected=None,
    send_start=None,
    sent=None,
    first_byte=None,
    status=None,
    right=False,
    phase="connect",
    cause="refused",
)


def at(record: RequestRecord, begun: float, end: float) -> RequestRecord:
    """The same at another time."""
    moments = {
        name: begun
        for name in ("due", "connect_start", "connected", "send_start", "sent")
        if getattr(record, name) is not None
    }
    first = None if record.first_byte is None else end
    return replace(record, **moments, first_byte=first, end=end)


REQUESTS: tuple[RequestRecord, ...] = (
    *(at(ANSWERED, 98.0 + step / 10, 98.02 + step / 10) for step in range(15)),
    *(at(ANSWERED, 99.5 + step / 10, 100.5 + step / 10) for step in range(4)),
    *(at(CUT, 99.3 + step / 20, 100.01) for step in range(3)),
    *(at(REFUSED, 100.3 + step / 10, 100.3001 + step / 10) for step in range(6)),
)
"""A little load: 15 were over before the signal, 7 were accepted, and 3 of these were cut off; 6 came too late."""

CLOSED: Mapping[str, Any] = {"inodes": [], "addresses": [], "backlog": 0}
OPEN: Mapping[str, Any] = {"inodes": [77], "addresses": ["127.0.0.1"], "backlog": 0}


def probe(t: float, name: str, value: object, **key: object) -> dict[str, Any]:
    """A look of a probe."""
    return {"t0": t - 0.001, "t": t, "probe": name, **key, "value": value}


PROBES: tuple[dict[str, Any], ...] = (
    probe(90.1, "listener", CLOSED, port=8000),
    probe(91.0, "listener", OPEN, port=8000),
    probe(91.5, "listener", {**OPEN, "backlog": 1}, port=8000),
    probe(100.25, "listener", {**OPEN, "backlog": 1}, port=8000),
    probe(100.28, "listener", CLOSED, port=8000),
    probe(101.0, "listener", CLOSED, port=8000),
    probe(91.0, "readiness", {"status": 200}, path="/ready"),
    probe(99.99, "readiness", {"status": 200}, path="/ready"),
    probe(100.03, "readiness", {"status": 503}, path="/ready"),
    probe(101.0, "readiness", {"status": 503}, path="/ready"),
    probe(91.0, "processes", {"processes": [{"pid": 7, "created": 90.0}, {"pid": 8, "created": 90.5}]}),
    probe(100.9, "processes", {"processes": [{"pid": 7, "created": 90.0}, {"pid": 8, "created": 90.5}]}),
)


def target(folder: Path) -> Target:
    """What was drained."""
    return Target(
        name="made-up",
        folder=folder,
        manifest=None,
        command=("x",),
        working_directory=folder,
        readiness="/ready",
        policy=Policy(grace_period=5.0),
        requests=(Request(name="fast", method="GET", path="/", duration=1.0),),
    )


def write(
    folder: Path,
    *,
    requests: Iterable[RequestRecord] = REQUESTS,
    prints: Sequence[str] = ("draining", "drained"),
    probes: Iterable[Mapping[str, Any]] = PROBES,
    because: str = "SIGTERM was sent, and taken",
    kind: str = "signal",
) -> Path:
    """Writes the evidence of one experiment to `folder`. Requests are written as they come: there may be many."""
    with Recorder(folder=folder) as recorder:
        recorder.describe(
            scenario="drain.TestStop[SIGTERM-main-1w]",
            title="SIGTERM to the main process",
            target=target(folder).to_json(),
            workers=1,
            ports={"http": 8000},
            load=[{"kind": "steady", "name": "steady-new", "request": "fast", "rate": 10, "connections": "new"}],
            faults=[{"kind": kind, "signal": "SIGTERM", "recipient": "main", "moment": "at steady state"}],
            given=[],
        )
        recorder.event("launch", t=LAUNCH, pid=7)
        recorder.event("load", t=LOAD)
        accepted = [request.port for request in REQUESTS]
        sockets = {"t0": SIGNAL - 0.001, "t": SIGNAL, "read": [1, *accepted], "accepted": [1, *accepted]}
        fault = {"kind": kind, "signal": "SIGTERM", "proven": True, "because": because, "sockets": sockets}
        recorder.event("fault", t=SIGNAL, **fault)
        recorder.event("exit", t=EXIT, code=0, signal=None)
        recorder.event("gone", t=EXIT + 0.01)
        recorder.event("observed", t=EXIT + 0.02)
        recorder.event("end", t=EXIT + 0.03)
        for line in probes:
            recorder.sample(dict(line))
    count = aborted = 0
    with (folder / LEDGER).open("w") as ledger:
        for count, record in enumerate(requests, 1):
            ledger.write(write_line(replace(record, id=count - 1)))
            aborted += record.cause == "aborted"
        ledger.write(write_line(_summary(count, aborted)))
    lines = [{"t": SIGNAL + n / 100, "stream": "stderr", "text": text} for n, text in enumerate(prints)]
    ends = [{"t": EXIT, "end": "stdout"}, {"t": EXIT, "end": "stderr"}]
    (folder / OUTPUT).write_text("".join(json.dumps(line) + "\n" for line in (*lines, *ends)))
    return folder


def _summary(count: int, aborted: int) -> LedgerSummary:
    return LedgerSummary(
        issued=count,
        recorded=count,
        aborted=aborted,
        locust_requests=count - aborted,
        started_at=LOAD,
        stopped_at=EXIT,
        late_due=0,
        worst_lag=0.0,
        cpu_seconds=1.0,
        wall_seconds=3.0,
    )


def verdict(**values: Any) -> Verdict:
    """A verdict on the drain; what is not said is a failure of DRAIN-1."""
    known: dict[str, Any] = {
        "requirement": "DRAIN-1",
        "level": "MUST",
        "rule": "Every accepted request gets its answer.",
        "scenario": "drain.TestStop[SIGTERM-main-1w]",
        "title": "SIGTERM to the main process, 1 worker",
        "check": "test_accepted_requests_get_their_answer",
        "verdict": "fail",
        "summary": "3 of 7 accepted requests got no right answer",
        "facts": {"lost": 3, "accepted": 7, "exit_after_s": 1.0},
        "evidence": "evidence/now/drain",
        "repeat": "pytest --target=. -k 'drain.TestStop[SIGTERM-main-1w]'",
        "duration": 4.0,
        "details": "#19 fast (steady-new, new connection): cut, eof while body",
    }
    return Verdict(**{**known, **values})


def results(*verdicts: Verdict, **values: Any) -> Results:
    """A whole run."""
    known: dict[str, Any] = {
        "target": {"name": "made-up", "folder": "/srv/made-up", "manifest": {"policy": {"grace_period": 5.0}}},
        "versions": {"drainproof": "1", "python": "3", "platform": "linux", "target": {"packages": {"uvicorn": "1"}}},
        "verdicts": verdicts,
        "started": "2026-11-20T15:40:11+00:00",
        "seconds": 61.0,
        "aborted": False,
        "command": "pytest --target=.",
        "specification": "2026.11",
    }
    return Results(**{**known, **values})
