"""The ledger: one record for every request that the load engine issued, and nothing else.

The file is JSON lines. Each line has a `record` key: `request` (`RequestRecord`), `connection` (`ConnectionRecord`: an
idle connection's life) or `summary` (`LedgerSummary`, the last line, written when the engine ends in order).
All times are CLOCK_MONOTONIC seconds; `None` means that the request never got that far.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from drainproof.errors import HarnessError
from drainproof.load.plan import Protocol

Phase = Literal["connect", "send", "waiting", "head", "body"]
"""How far a failed request had got: connecting, sending, waiting for the first byte, within the head or the body."""

Cause = Literal[
    "refused",
    "connect_timeout",
    "connect_failed",
    "reset",
    "eof",
    "timeout",
    "protocol",
    "stream_refused",
    "stream_reset",
    "aborted",
    "routed_elsewhere",
]
"""Why it failed. `stream_refused`: the target said in HTTP/2 that it has not looked at this call (GOAWAY with a smaller
last stream, or RST_STREAM with REFUSED_STREAM); `stream_reset`: it broke the call off with another error code;
`aborted`: the engine itself ended it, because the load was over, which says nothing about the target;
`routed_elsewhere`: it needed a new connection when the target was no endpoint of its service any more, so it was never
sent to the target."""


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """One attempt at one request. There are no retries, so one request is one record."""

    id: int
    """Unique in the run, in the order of issue, from 0."""
    token: str
    stream: str
    request: str
    due: float
    """When the schedule wanted it to leave (closed loops: when it was issued)."""
    connect_start: float | None
    connected: float | None
    """Both `None` on a reused connection."""
    send_start: float | None
    sent: float | None
    """The whole request was handed to the kernel."""
    first_byte: float | None
    end: float
    """The last byte of the answer, or the moment of the failure."""
    port: int | None
    """The client's local port: with it the connection is found in /proc/net/tcp."""
    reused: bool
    sequence: int
    """1 for the first request on its connection."""
    bytes_sent: int
    bytes_received: int
    status: int | None
    right: bool
    """A complete answer, and the one that the manifest declares as right."""
    wrong: str | None
    """What was not right about a complete answer."""
    close_announced: bool
    """The server said that it is going to close: `Connection: close`, or HTTP/1.0 without keep-alive; GOAWAY."""
    phase: Phase | None
    cause: Cause | None
    """Both `None` for a complete answer."""
    error: str | None
    acknowledged: bool | None = None
    """For a failed request: the target's kernel had acknowledged every byte of it (TCP_INFO, `tcpi_bytes_acked`).
    `False`: the connection was closed before the request got there, so no server could have answered it.
    `None`: not known."""
    protocol: Protocol = "http"
    messages: int | None = None
    """gRPC: how many complete messages of the answer came. `status` is the number of its status code."""
    torn: bool = False
    """gRPC: the answer ended in the middle of a message."""
    offered: float | None = None
    """gRPC: when the engine handed the call over. What comes between this and `send_start` is waiting: for the target's
    first word, for one of the streams that it allows at a time, for its flow control."""
    session: int | None = None
    """Which user of a stream with `sessions` it was, from 0."""
    answered_by: str | None = None
    """Behind a load balancer: the server that it says the answer comes from, or was to come from."""

    @property
    def answered(self) -> bool:
        """A complete answer came, right or not."""
        return self.cause is None

    @property
    def lag(self) -> float:
        """Seconds that it left behind its schedule; 0 in closed loops, which have none."""
        begun = next((t for t in (self.offered, self.connect_start, self.send_start) if t is not None), None)
        return 0.0 if begun is None else begun - self.due

    @property
    def latency(self) -> float:
        """Seconds from the moment it was due until its end."""
        return self.end - self.due


@dataclass(frozen=True, kw_only=True)
class ConnectionRecord:
    """The life of a connection that a stream holds open without a request on it."""

    id: int
    stream: str
    port: int
    opened: float
    idle_since: float
    """The last answer's end, or `opened` where nothing was sent."""
    end: float
    ended_by: Literal["eof", "reset", "data", "engine", "failed"]
    """`eof`, `reset`: the server; `data`: the server sent something unasked; `engine`: the load was over;
    `failed`: it could not be set up."""


@dataclass(frozen=True, kw_only=True)
class LedgerSummary:
    """What the engine says of itself, for the reconciliation and for the question whether it was up to its work."""

    issued: int
    recorded: int
    aborted: int
    locust_requests: int
    """How many requests Locust's own statistics counted through `events.request`: those that were answered or failed,
    not those that were aborted or went elsewhere."""
    started_at: float
    stopped_at: float
    """Between these two moments new requests were due."""
    late_due: int
    """Open-loop arrivals that left more than `LATE` seconds after they were due."""
    worst_lag: float
    cpu_seconds: float
    wall_seconds: float
    starved: int = 0
    """Requests (among the aborted ones) that could not leave, because the engine was short of descriptors or ports."""
    worst_stall: float = 0.0
    """The longest time that the engine's event loop stood still; moments within it were stamped that much too late."""
    scheduled: int = 0
    """How many of the issued requests were open-loop arrivals."""
    routed_elsewhere: int = 0
    """Requests that would have gone to another endpoint of the service."""
    unrouted_at: float | None = None
    """When the target ceased to be an endpoint of its service; None where it was one to the end."""


LATE = 0.5
"""Seconds behind the schedule from which on an open-loop arrival counts as late."""

MAX_STALL = 2.0
"""Seconds that the engine may stand still; a run with a longer pause is no measurement."""

MAX_LATE_SHARE = 0.05
"""A run in which a larger share of the open-loop arrivals left late is no measurement."""


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """A whole ledger, as read from its file."""

    requests: tuple[RequestRecord, ...]
    connections: tuple[ConnectionRecord, ...]
    summary: LedgerSummary | None

    def problems(self, *, since: float = 0.0) -> list[str]:
        """Why this ledger cannot be the ground of a verdict; empty where issued == recorded == unique ids.

        `since`: see `starvation`, which is part of it.
        """
        if self.summary is None:
            return ["the load engine did not end in order: its ledger has no summary"]
        found = []
        unique = len({r.id for r in self.requests})
        if not self.summary.issued == self.summary.recorded == len(self.requests) == unique:
            found.append(
                f"the ledger does not reconcile: {self.summary.issued} issued, {self.summary.recorded} recorded, "
                f"{len(self.requests)} in the file, {unique} unique ids"
            )
        counted = self.summary.locust_requests + self.summary.aborted + self.summary.routed_elsewhere
        if counted != self.summary.issued:
            found.append(
                f"Locust counted {counted} requests (with those that were aborted or went elsewhere) of "
                f"{self.summary.issued} issued"
            )
        if self.summary.starved:
            found.append(f"{self.summary.starved} requests could not leave: {self._shortage()}")
        return found + self.starvation(since=since)

    def starvation(self, *, since: float = 0.0) -> list[str]:
        """What says that the machine was too busy for this measurement: our trouble, not the target's.

        Requests that were due before the moment `since` (the fault) may have left late: what happened to the schedule
        before the fault changes no verdict.
        """
        found = []
        if self.summary is not None and self.summary.worst_stall > MAX_STALL:
            found.append(f"the load engine stood still for {self.summary.worst_stall:.2f} s: the machine is too busy")
        due = [r for r in self.requests if r.due >= since]
        late = [r.lag for r in due if r.lag > LATE]
        if len(late) > MAX_LATE_SHARE * len(due):
            found.append(
                f"the load engine could not keep its schedule: {len(late)} of {len(due)} requests left more than "
                f"{LATE} s late (worst {max(late):.2f} s)"
            )
        return found

    def _shortage(self) -> str:
        errors = (r.error for r in self.requests if r.cause == "aborted" and r.error is not None)
        return next(errors, "the load engine was short of descriptors or ports")


def write_line(record: RequestRecord | ConnectionRecord | LedgerSummary) -> str:
    """One ledger line, with its line feed."""
    kind = {RequestRecord: "request", ConnectionRecord: "connection", LedgerSummary: "summary"}[type(record)]
    return json.dumps({"record": kind, **asdict(record)}, separators=(",", ":")) + "\n"


_decode = json.JSONDecoder().decode
"""Without looking for the encoding of each line, as `json.loads` does with bytes: a ledger may have a million."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """JSON objects of `path`; a last line that a crash cut short is left out. Raises HarnessError on other damage."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                value = _decode(line.decode("utf-8"))
            except ValueError as error:  # not JSON, or not UTF-8
                if not line.endswith(b"\n"):
                    return
                raise HarnessError(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(value, dict):
                raise HarnessError(f"{path}, line {number}: not a JSON object")
            yield value


def each_request(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of the requests, one at a time, for a ledger that is too large to be held; `request_of` reads one.

    Raises HarnessError where the file is damaged, and OSError.
    """
    return (line for line in read_lines(path) if line.get("record") == "request")


def request_of(line: dict[str, Any]) -> RequestRecord:
    """The request of a line."""
    record: RequestRecord = _pick(RequestRecord, line)
    return record


def read(path: Path) -> Ledger:
    """Reads a ledger file. Raises HarnessError where it is damaged."""
    requests, connections, summary = [], [], None
    for line in read_lines(path):
        kind = line.get("record")
        if kind == "request":
            requests.append(request_of(line))
        elif kind == "connection":
            connections.append(_pick(ConnectionRecord, line))
        elif kind == "summary":
            summary = _pick(LedgerSummary, line)
    return Ledger(requests=tuple(requests), connections=tuple(connections), summary=summary)


_NAMES = {cls: frozenset(f.name for f in fields(cls)) for cls in (RequestRecord, ConnectionRecord, LedgerSummary)}


def _pick(cls: Any, line: dict[str, Any]) -> Any:
    values = {**line}
    del values["record"]
    if not values.keys() <= _NAMES[cls]:  # written by a later version
        values = {name: value for name, value in values.items() if name in _NAMES[cls]}
    return cls(**values)
