"""The book: gives each request its number, follows it while it is in flight, and writes down what became of it."""

from __future__ import annotations

import json
import secrets
from time import monotonic
from typing import Any

from drainproof.load.engine.sink import Sink
from drainproof.load.engine.template import AnyTemplate
from drainproof.load.ledger import LATE, ConnectionRecord, RequestRecord, write_line

SHOWN_PORTS = 4096
"""How many ports of a stream a progress message names at most."""


class Counter:
    """What became of one stream's requests so far."""

    __slots__ = ("aborted", "elsewhere", "failed", "issued", "json_name", "name", "open", "right", "wrong")

    def __init__(self, name: str) -> None:
        self.name = name
        self.json_name = json.dumps(name)
        self.issued = self.right = self.wrong = self.failed = self.aborted = self.elsewhere = 0
        self.open: dict[Any, tuple[int, float, float]] = {}
        """Idle connections that are open now: local port, since when they are open, and since when idle."""

    @property
    def in_flight(self) -> int:
        """Requests that were issued and are not over."""
        return self.issued - self.right - self.wrong - self.failed - self.aborted - self.elsewhere


class Attempt:
    """One request on its way: the fields of `ledger.RequestRecord`, filled in as they become known."""

    __slots__ = (
        "acknowledged",
        "bytes_received",
        "bytes_sent",
        "cause",
        "close_announced",
        "connect_start",
        "connected",
        "connection",
        "counter",
        "due",
        "end",
        "error",
        "first_byte",
        "id",
        "late",
        "messages",
        "offered",
        "phase",
        "port",
        "reused",
        "send_start",
        "sent",
        "sequence",
        "starved",
        "status",
        "template",
        "token",
        "torn",
        "wrong",
    )

    def __init__(self, number: int, token: str, counter: Counter, template: Any, due: float) -> None:
        self.id = number
        self.token = token
        self.counter = counter
        self.template: Any = template
        """An `AnyTemplate`; None in an attempt that is `unrecorded`."""
        self.due = due
        self.connect_start: float | None = None
        self.connected: float | None = None
        self.send_start: float | None = None
        self.sent: float | None = None
        self.first_byte: float | None = None
        self.end = 0.0
        self.port: int | None = None
        self.reused = False
        self.sequence = 1
        self.bytes_sent = self.bytes_received = 0
        self.status: int | None = None
        self.wrong: str | None = None
        self.close_announced = False
        self.phase: Any = "connect"
        self.cause: Any = None
        self.error: str | None = None
        self.acknowledged: bool | None = None
        self.late = False
        """The target's FIN had left before the request came there."""
        self.connection: Any = None
        """What carries it, and can `fail` it: the `http.Connection` or the `rpc.Call`."""
        self.starved = False
        """It could not leave, because this machine was short of something."""
        self.messages: int | None = None
        self.offered: float | None = None
        self.torn = False

    @property
    def right(self) -> bool:
        """The complete and right answer came."""
        return self.cause is None and self.wrong is None

    def record(self) -> RequestRecord:
        """The finished attempt as the ledger has it."""
        return RequestRecord(
            id=self.id,
            token=self.token,
            stream=self.counter.name,
            request=self.template.name,
            due=self.due,
            connect_start=self.connect_start,
            connected=self.connected,
            send_start=self.send_start,
            sent=self.sent,
            first_byte=self.first_byte,
            end=self.end,
            port=self.port,
            reused=self.reused,
            sequence=self.sequence,
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            status=self.status,
            right=self.right,
            wrong=self.wrong,
            close_announced=self.close_announced,
            phase=self.phase if self.cause else None,
            cause=self.cause,
            error=self.error,
            acknowledged=self.acknowledged,
            protocol=self.template.protocol,
            messages=self.messages,
            torn=self.torn,
            offered=self.offered,
        )

    def line(self) -> str:
        """`write_line(self.record())`, but for a right answer six times as fast: a busy run is made of those."""
        if self.cause is not None or self.wrong is not None or self.error is not None:
            return write_line(self.record())
        opened = "null" if self.connect_start is None else f"{self.connect_start:.7f}"
        connected = "null" if self.connected is None else f"{self.connected:.7f}"
        sent = "null" if self.sent is None else f"{self.sent:.7f}"  # an answer may come before the end of the request
        offered = "null" if self.offered is None else f"{self.offered:.7f}"
        messages = "null" if self.messages is None else self.messages
        return (
            f'{{"record":"request","id":{self.id},"token":"{self.token}","stream":{self.counter.json_name},'
            f'"request":{self.template.json_name},"due":{self.due:.7f},"connect_start":{opened},'
            f'"connected":{connected},"send_start":{self.send_start:.7f},"sent":{sent},'
            f'"first_byte":{self.first_byte:.7f},"end":{self.end:.7f},"port":{self.port},'
            f'"reused":{"true" if self.reused else "false"},"sequence":{self.sequence},'
            f'"bytes_sent":{self.bytes_sent},"bytes_received":{self.bytes_received},"status":{self.status},'
            f'"right":true,"wrong":null,"close_announced":{"true" if self.close_announced else "false"},'
            f'"phase":null,"cause":null,"error":null,"acknowledged":null,"protocol":"{self.template.protocol}",'
            f'"messages":{messages},"torn":false,"offered":{offered}}}\n'
        )


class Book:
    """All requests of one run. `issue` and `finish` frame each of them; between the two it is in `in_flight`."""

    def __init__(self, *, sink: Sink, events: Any, streams: list[str]) -> None:
        self.counters = {name: Counter(name) for name in streams}
        self.in_flight: dict[int, Attempt] = {}
        self.issued = self.recorded = self.aborted = self.starved = self.routed_elsewhere = 0
        self.scheduled = self.late_due = 0
        self.worst_lag = 0.0
        self._sink = sink
        self._fire = events.request.fire
        self._prefix = "t" + secrets.token_hex(4)
        self._connections = 0
        self._failures: dict[str, Exception] = {}

    @property
    def token_length(self) -> int:
        """How long each token of this run is."""
        return len(self._token(0))

    def _token(self, number: int) -> str:
        """Unique among all runs: the number alone would come again in the next one, and its late answers with it."""
        return f"{self._prefix}{number:08x}"

    def issue(self, counter: Counter, template: AnyTemplate, due: float | None = None) -> Attempt:
        """A new request. `due`: when the schedule wanted it to leave, None for one that has no schedule."""
        now = monotonic()
        number = self.issued
        self.issued = number + 1
        counter.issued += 1
        if due is None:
            due = now
        else:
            self.scheduled += 1
            self.late_due += now - due > LATE
            self.worst_lag = max(self.worst_lag, now - due)
        attempt = Attempt(number, self._token(number), counter, template, due)
        self.in_flight[number] = attempt
        return attempt

    def unrecorded(self, counter: Counter) -> Attempt:
        """An attempt at a connection alone. It is no request, so nothing counts it."""
        return Attempt(-1, "", counter, None, monotonic())

    def send_elsewhere(self, attempt: Attempt) -> None:
        """Writes down that the request got another endpoint: it needed a new connection, and the route is closed."""
        attempt.cause, attempt.end = "routed_elsewhere", monotonic()
        self.finish(attempt)

    def finish(self, attempt: Attempt) -> None:
        """Writes the request down, and tells Locust unless we ended it ourselves or never sent it."""
        del self.in_flight[attempt.id]
        self.recorded += 1
        counter = attempt.counter
        failure = None
        if attempt.cause == "aborted":
            counter.aborted += 1
            self.aborted += 1
            self.starved += attempt.starved
        elif attempt.cause == "routed_elsewhere":
            counter.elsewhere += 1
            self.routed_elsewhere += 1
        elif attempt.cause is not None:
            counter.failed += 1
            failure = f"{attempt.phase}: {attempt.cause}"
        elif attempt.wrong is not None:
            counter.wrong += 1
            failure = f"wrong answer: status {attempt.status}"
        else:
            counter.right += 1
        self._sink.write(attempt.line())
        if attempt.cause not in ("aborted", "routed_elsewhere"):
            self._fire(
                request_type=attempt.template.method,
                name=attempt.template.name,
                response_time=(attempt.end - attempt.due) * 1000,
                response_length=attempt.bytes_received,
                exception=None if failure is None else self._failure(failure),
                context={},
            )

    def note_connection(self, **fields: Any) -> None:
        """Writes down the life of an idle connection: `ledger.ConnectionRecord` without its id."""
        self._sink.write(write_line(ConnectionRecord(id=self._connections, **fields)))
        self._connections += 1

    def progress(self) -> dict[str, dict[str, Any]]:
        """By stream, the fields of `driver.StreamProgress`."""
        ports: dict[Counter, list[int | None]] = {counter: [] for counter in self.counters.values()}
        for attempt in self.in_flight.values():
            if attempt.sent is not None and len(shown := ports[attempt.counter]) < SHOWN_PORTS:
                shown.append(attempt.port)
        return {
            counter.name: {
                "issued": counter.issued,
                "right": counter.right,
                "wrong": counter.wrong,
                "failed": counter.failed,
                "aborted": counter.aborted,
                "routed_elsewhere": counter.elsewhere,
                "in_flight": counter.in_flight,
                "in_flight_ports": ports[counter],
                "open": len(counter.open),
                "open_ports": [port for port, *_ in counter.open.values()][:SHOWN_PORTS],
            }
            for counter in self.counters.values()
        }

    def _failure(self, text: str) -> Exception:
        """One exception object for each way to fail: Locust wants an exception, and only looks at its text."""
        if text not in self._failures:
            self._failures[text] = Exception(text)
        return self._failures[text]
