"""The connection under one gRPC channel, with an ear in it.

The gRPC library is a good client and a poor witness. It does not tell which connection carried a call, when the request
had left, or how a connection ended; it makes the same status (UNAVAILABLE) itself that a server may send; and the
texts that go with it differ from release to release. So the library is not connected to the target, but to a socket of
ours, and we carry the bytes between the two: unchanged, in the same order, and as they come. What a verdict needs is on
the wire: when the request's last frame was handed to the kernel, the status frame that came or did not come, GOAWAY and
RST_STREAM with their codes, the orderly end of the connection or its reset.

A tap is one connection: one attempt to connect, never a second one. It lives in callbacks of the event loop; nothing in
it waits. Lost: reading the library's texts (they would have to be known for each release, and hide what the transport
saw), and a gRPC client of our own (its ideas of flow control and header compression would be judged along with the
target).
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
from _socket import socket as kernel_socket  # the class that gevent does not replace
from collections.abc import Callable
from socket import (
    AF_INET,
    AF_UNIX,
    IPPROTO_TCP,
    SO_ERROR,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_NODELAY,
)
from time import monotonic
from typing import Any

import gevent

from drainproof.load.engine import frames
from drainproof.load.engine.book import Attempt
from drainproof.load.engine.frames import FrameReader, MessageCounter
from drainproof.load.engine.http import OWN_SHORTAGES, READ, RESETS, bytes_acknowledged
from drainproof.load.engine.route import Route
from drainproof.load.engine.side import Side
from drainproof.load.ledger import Cause

_numbers = itertools.count()


class Exchange:
    """One call on a tap: what the frames tell of it. It also fills in the attempt's times and sizes."""

    __slots__ = ("attempt", "beyond", "ended", "messages", "on_left", "position", "reset", "stream")

    def __init__(self, attempt: Attempt, on_left: Callable[[], None]) -> None:
        """`on_left` is called when the request's first frame leaves."""
        self.attempt = attempt
        self.on_left = on_left
        self.stream = 0
        self.position = 0
        """How much had been sent on the connection when the request was complete."""
        self.messages = MessageCounter()
        self.ended: float | None = None
        """When the answer was complete: the status, to the last frame of its header block."""
        self.reset: int | None = None
        """The error code with which the target broke the call off."""
        self.beyond = False
        """The target has said that it will not look at this call (GOAWAY with a smaller last stream)."""

    @property
    def over_on_wire(self) -> bool:
        """The target has said its last word on it; the library takes nothing more of it either."""
        return self.ended is not None or self.reset is not None or self.beyond


class Tap:
    """See the module's docstring."""

    def __init__(self, *, address: tuple[str, int], route: Route) -> None:
        self._route = route
        self._loop: Any = gevent.get_hub().loop
        self._address = address
        self._watchers: list[Any] = []
        self._near: Side | None = None
        self._far: Side | None = None
        self._outgoing = FrameReader(preface=len(frames.PREFACE))
        self._incoming = FrameReader()
        self._next: Exchange | None = None
        self._open: dict[int, Exchange] = {}
        self._leaving: list[Exchange] = []
        self._base: int | None = None
        self._handed_over = 0
        self.port = 0
        self.connect_start: float | None = None
        self.connected: float | None = None
        self.on_connected: Callable[[], None] | None = None
        self.on_lost: Callable[[str], None] | None = None
        """Called with the cause when the connection could not be made, or the target has ended it."""
        self.lost: tuple[Cause, str | None, float] | None = None
        """Why the connection could not be made, or how the target ended it, and when."""
        self.starved = False
        self.going_away = False
        """The target has said GOAWAY: no new call will be taken."""
        self._last: int | None = None
        """The smallest last stream that a GOAWAY has named."""
        self.left_by_client = False
        """The gRPC library closed its side while the target's was fine: it did not understand what came."""
        name = f"drainproof-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"
        self.target = f"unix-abstract:{name}"
        """Where the channel of the gRPC library has to connect to."""
        self._listener: kernel_socket | None = kernel_socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        self._listener.bind(f"\0{name}")
        self._listener.listen(1)
        self._accepting = self._loop.io(self._listener.fileno(), READ)
        self._accepting.start(self._on_accept)

    @property
    def usable(self) -> bool:
        """It is connected, and the target takes new calls on it."""
        return self.connected is not None and self.lost is None and not self.going_away and not self.left_by_client

    def expect(self, exchange: Exchange) -> None:
        """The next call that leaves is this one."""
        self._next = exchange

    def forget(self, exchange: Exchange) -> None:
        """The call is over; what still comes of it is of no interest."""
        self._open.pop(exchange.stream, None)
        if self._next is exchange:
            self._next = None

    def acknowledged(self, exchange: Exchange) -> bool | None:
        """Whether the target's kernel had the whole request; see `RequestRecord.acknowledged`."""
        attempt, far = exchange.attempt, self._far
        if attempt.send_start is None or far is None or far.sock is None or self._base is None:
            return None
        count = bytes_acknowledged(far.sock)
        if count is not None and count - self._base >= exchange.position and attempt.sent is not None:
            return True
        return None if count is None or attempt.cause == "reset" else False

    def close(self) -> None:
        """Ends both sides. Idempotent."""
        self._stop_listening()
        for side in (self._near, self._far):
            if side is not None:
                side.close()

    # --- Connecting --------------------------------------------------------------------------------------------------

    def _on_accept(self) -> None:
        assert self._listener is not None
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]  # a kernel socket has no other
        except BlockingIOError:
            return
        sock = kernel_socket(fileno=descriptor)
        sock.setblocking(False)
        self._stop_listening()
        self._near = Side(sock, self._on_near, self._on_near_drained)
        self._connect()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._accepting.stop()
            self._accepting.close()
            self._listener.close()
            self._listener = None

    def _connect(self) -> None:
        if not self._route.open:  # it was closed since the library was told to connect
            return self._lose("routed_elsewhere", None)
        self.connect_start = monotonic()
        try:
            sock = kernel_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
            self._far = far = Side(sock, self._on_far, self._on_far_drained)
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            number = sock.connect_ex(self._address)
        except OSError as error:
            return self._on_connection(error.errno or 0)
        if number == errno.EINPROGRESS:
            far.when_writable(lambda: self._on_connection(sock.getsockopt(SOL_SOCKET, SO_ERROR)))
            return None
        return self._on_connection(number)

    def _on_connection(self, number: int) -> None:
        far, near = self._far, self._near
        if number == 0:
            assert far is not None and far.sock is not None and near is not None
            self.port = far.sock.getsockname()[1]
            self._base = bytes_acknowledged(far.sock)
            self.connected = monotonic()
            if self.on_connected is not None:
                self.on_connected()
            far.read()
            near.read()
            return
        text = errno.errorcode.get(number, str(number))
        if number in RESETS:  # the handshake was complete: a connection that is turned down is ECONNREFUSED
            self.connected = monotonic()
            self._lose("reset", text)
        elif number in OWN_SHORTAGES:
            self.starved = True
            self._lose("aborted", f"this machine is short of something: {text}")
        elif number == errno.ECONNREFUSED:
            self._lose("refused", text)
        else:
            self._lose("connect_timeout" if number == errno.ETIMEDOUT else "connect_failed", text)

    def _lose(self, cause: Cause, error: str | None) -> None:
        if self.lost is not None or self.left_by_client:
            return
        self.lost = (cause, error, monotonic())
        if self._near is not None:
            self._near.close_when_drained()
        if self._far is not None:
            self._far.stop_reading()
        if self.on_lost is not None:
            self.on_lost(cause)

    # --- From the gRPC library to the target -------------------------------------------------------------------------

    def _on_near(self, data: bytes | None, error: str | None) -> None:
        far = self._far
        if data is None or far is None or far.sock is None:
            self._on_client_gone()
            return None
        now = monotonic()
        begun = []
        for frame in self._outgoing.feed(data):
            if frame.kind == frames.HEADERS and self._next is not None and frame.stream not in self._open:
                exchange, self._next = self._next, None
                exchange.stream = frame.stream
                exchange.attempt.port = self.port
                self._open[frame.stream] = exchange
                exchange.attempt.send_start = now
                self._compare(exchange)  # the library had not read the GOAWAY yet
                begun.append(exchange)
            found = self._open.get(frame.stream)
            if found is not None and frame.kind in frames.OF_A_CALL:
                found.attempt.bytes_sent += len(frame.payload)
                if frame.ends_stream:
                    self._leaving.append(found)
        self._handed_over += len(data)
        for exchange in self._leaving:
            exchange.position = exchange.position or self._handed_over
        if not far.send(data):
            return self._on_broken(far)
        if far.backlog:
            assert self._near is not None
            self._near.stop_reading()
        else:
            self._on_far_drained()
        for exchange in begun:
            exchange.on_left()
        return None

    def _on_broken(self, far: Side) -> None:
        """The connection is gone; what the target had sent before that still counts."""
        while self.lost is None and far.read_now():
            pass
        self._lose("reset", "EPIPE")

    def _on_client_gone(self) -> None:
        """The library has closed its side. After a GOAWAY that is what the target has asked for."""
        if self.lost is None and self.going_away:
            self._lose("eof", "GOAWAY")
        elif self.lost is None:
            self.left_by_client = True
        self.close()

    def _on_far_drained(self) -> None:
        """All that the library has written is in the kernel."""
        now = monotonic()
        for exchange in self._leaving:
            exchange.attempt.sent = now
            if exchange.attempt.phase == "send":
                exchange.attempt.phase = "waiting"
        self._leaving.clear()
        if self._near is not None and self.lost is None:
            self._near.read()

    # --- From the target to the gRPC library -------------------------------------------------------------------------

    def _on_far(self, data: bytes | None, error: str | None) -> None:
        if data is None:
            return self._lose("eof" if error is None else "reset", error)
        now = monotonic()
        for frame in self._incoming.feed(data):
            if frame.kind == frames.GOAWAY and frame.complete and len(frame.payload) >= 8:
                self._take_goaway(frame.numbers()[0])
            elif (exchange := self._open.get(frame.stream)) is not None:
                self._take(exchange, frame, now)
        near = self._near
        assert near is not None
        if near.send(data) and near.backlog and self._far is not None:
            self._far.stop_reading()
        return None

    def _take_goaway(self, last: int) -> None:
        self.going_away = True
        self._last = last if self._last is None else min(last, self._last)
        for exchange in self._open.values():
            self._compare(exchange)

    def _compare(self, exchange: Exchange) -> None:
        """Whether a GOAWAY excludes the call. What is complete, or was broken off before, stays what it is."""
        if self._last is None:
            return
        exchange.attempt.close_announced = True
        if exchange.stream > self._last and not exchange.over_on_wire:
            exchange.beyond = True
            exchange.attempt.end = monotonic()

    def _take(self, exchange: Exchange, frame: frames.Frame, now: float) -> None:
        attempt = exchange.attempt
        if exchange.over_on_wire:  # an RST_STREAM after the status only says: send no more
            return
        if frame.kind == frames.RST_STREAM:
            exchange.reset = frame.error()
            attempt.end = now
            return
        if frame.kind not in frames.OF_A_CALL:
            return
        if attempt.first_byte is None:
            attempt.first_byte = now
            attempt.phase = "body"
        if frame.kind == frames.DATA:
            attempt.bytes_received += len(frame.payload)
            exchange.messages.feed(frame.payload)
        if frame.ends_stream:
            exchange.ended = now

    def _on_near_drained(self) -> None:
        if self._far is not None and self.lost is None:
            self._far.read()
