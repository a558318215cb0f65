"""Sends one case over a connection of its own and reads what comes back, with one deadline for all of it.

When does the client end its side?
    A server may rightly wait for more where a message looks incomplete to it; then only the client's end of the stream
    tells it that nothing will come. But many servers take that end for a client that went away, and answer no more.
    So a client ends its side at once where the message is visibly incomplete; after `PATIENCE` without a byte where
    its end cannot be known (whoever answers does so before, whoever waits is released); and never where the message is
    well-formed HTTP, because a slow answer to it is still to come.

Plain sockets, because no HTTP library sends such things.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator

import httptools

from drainproof.faults.bad_clients.cases import Case, Ending, Outcome
from drainproof.load.answer import what_is_wrong
from drainproof.load.plan import Request

PATIENCE = 0.3
"""Seconds without a byte after which the client ends its side."""

KEPT = 2048
"""Bytes of an answer that are kept."""


def play(*, case: Case, request: Request, token: str, host: str, port: int, timeout: float) -> Outcome:
    """Sends `case` and waits up to `timeout` seconds for an answer or a close. `request`: what it was derived from."""
    t0 = time.monotonic()
    try:
        connection = socket.create_connection((host, port), timeout=timeout)
    except OSError as error:
        return Outcome(t0=t0, t=time.monotonic(), ending="refused", answer=str(error).encode())
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        answer = _Answer()
        ending = _converse(connection, case, answer, until=t0 + timeout + PATIENCE)
    wrong = None
    if ending == "answered":
        wrong = what_is_wrong(request=request, token=token, status=answer.status, body=bytes(answer.body))
    return Outcome(
        t0=t0,
        t=time.monotonic(),
        ending=ending,
        status=answer.status if ending == "answered" else None,
        wrong=wrong,
        answer=bytes(answer.raw[:KEPT]),
    )


def _converse(connection: socket.socket, case: Case, answer: _Answer, *, until: float) -> Ending:
    """Writes and reads side by side: a server may answer, or stop reading, before it has everything."""
    rest: Iterator[bytes] = case.stream()
    unsent, writing = b"", True
    patience = time.monotonic() + PATIENCE
    ended = False
    while True:
        if writing and not unsent:
            unsent = next(rest, b"")
            writing = bool(unsent)
        if not writing and not ended and _is_due(case, answer, patience):
            ended = True
            _end(connection)
        wake = until if ended or writing or answer.raw or case.ends == "never" else min(until, patience)
        readable, writable, _ = select.select(
            [connection], [connection] if writing else [], [], max(0.0, wake - time.monotonic())
        )
        if readable:
            try:
                data = connection.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                return answer.at_end("reset")
            if not data or not answer.feed(data):
                return answer.at_end("closed")
            if answer.complete:
                return "answered"
        if writable:
            try:
                unsent = unsent[connection.send(unsent) :]
                patience = time.monotonic() + PATIENCE
            except BlockingIOError:
                continue
            except OSError:  # it does not want more; what it said before that is still to be read
                writing, unsent, ended = False, b"", True
        if time.monotonic() >= until:
            return "hung"


def _is_due(case: Case, answer: _Answer, patience: float) -> bool:
    if case.ends == "late":
        return not answer.raw and time.monotonic() >= patience
    return case.ends == "now"


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return  # it is closed already, which the next read tells


class _Answer:
    """Collects an answer. `complete` when its end is known; interim (1xx) answers are passed over."""

    def __init__(self) -> None:
        self.raw = bytearray()
        self.body = bytearray()
        self.status = 0
        self.complete = False
        self._begun = False
        self._until_close = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bool:
        """Takes more bytes. False where they are no HTTP."""
        self.raw += data
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            # What comes behind a complete answer (a second one, to bytes behind the first) does not concern us.
            return self.complete
        return True

    def at_end(self, otherwise: Ending) -> Ending:
        """The ending, where the server has ended the connection."""
        if not self.raw:
            return otherwise
        if self.complete or (self._begun and self._until_close):
            return "answered"
        return "unreadable"

    def on_message_begin(self) -> None:
        """The parser's call."""
        self._until_close = not self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's call."""
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._until_close = False

    def on_headers_complete(self) -> None:
        """The parser's call."""
        if not self.complete:
            self.status = self._parser.get_status_code()
            self._begun = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """The parser's call."""
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        """The parser's call."""
        self.complete = self.complete or self._begun
