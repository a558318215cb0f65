"""The streams that delay a shutdown by what they do not do: idle connections, slow writers, slow readers."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar, cast

import gevent
from gevent.monkey import get_original

from drainproof.load.engine.http import READ, Connection
from drainproof.load.engine.streams import StreamUser, rpc
from drainproof.load.engine.template import RpcTemplate, Template
from drainproof.load.plan import Idle, SlowReader, SlowWriter

EPOLLRDHUP = 0x2000  # select.EPOLLRDHUP is gone where gevent has patched

SMALLEST_BUFFER = 1
"""SO_RCVBUF; the kernel makes its own minimum of it (about 2 KiB)."""


class IdleUser(StreamUser):
    """Connections that stay open without a request on them, and whose end is recorded in the moment it happens."""

    abstract = True
    stream: ClassVar[Idle]

    def play(self) -> None:
        """One greenlet opens each connection; from then on its watcher is enough."""
        self._counter = self.load.book.counters[self.stream.name]
        self._template = self.load.templates[self.stream.request] if self.stream.request is not None else None
        self.load.at_end.append(self._close)
        for _ in range(self.stream.count):
            self.load.ordinary.spawn(self._open)

    def _open(self) -> None:
        if not self.load.sleep_until(self.load.start):
            return
        template, address = self._template, self.load.address(self._template)
        if template is None and not self.load.route.open:
            return
        connection: Any  # of either protocol
        if isinstance(template, RpcTemplate):
            connection = rpc().RpcConnection(address=address, limits=self.load.limits, route=self.load.route)
        else:
            connection = Connection(address=address, limits=self.load.limits)
        begun = monotonic()
        if template is None:
            attempt = self.load.book.unrecorded(self._counter)
            is_idle = connection.open_silent(attempt)
            idle_since = attempt.connected
        else:
            attempt = self.load.book.issue(self._counter, template)
            if not self.load.route.open:
                self.load.book.send_elsewhere(attempt)
                return
            connection.carry(attempt, template.render(attempt.token))
            self.load.book.finish(attempt)
            is_idle, idle_since = connection.reusable, attempt.end
        opened = begun if attempt.connected is None else attempt.connected
        if not is_idle or idle_since is None:
            self._note(attempt.port or 0, opened, opened, attempt.end, "failed")
            return
        # No greenlet waits for the end of an idle connection: there may be thousands of them.
        port, since = connection.port, idle_since
        self._counter.open[connection] = (port, opened, since)
        connection.on_idle_end = lambda how: self._ended(connection, how)

    def _ended(self, connection: Any, how: str) -> None:
        port, opened, since = self._counter.open.pop(connection)
        self._note(port, opened, since, monotonic(), how)

    def _close(self) -> None:
        for connection in list(self._counter.open):
            connection.on_idle_end = None
            self._ended(connection, "engine")
            connection.close()

    def _note(self, port: int, opened: float, since: float, end: float, how: str) -> None:
        self.load.book.note_connection(
            stream=self.stream.name, port=port, opened=opened, idle_since=since, end=end, ended_by=how
        )


class SlowWriterUser(StreamUser):
    """Clients whose request trickles in and never becomes complete."""

    abstract = True
    stream: ClassVar[SlowWriter]

    def play(self) -> None:
        """One greenlet for each client."""
        template = cast("Template", self.load.templates[self.stream.request])  # Plan has refused the other kind
        for _ in range(self.stream.count):
            self.load.lasting.spawn(self._trickle, template)

    def _trickle(self, template: Template) -> None:
        """The head and half of the body (without a body: half of the head), then byte by byte all but the last one."""
        load = self.load
        if not load.sleep_until(load.start):
            return
        attempt = load.book.issue(load.book.counters[self.stream.name], template)
        if not load.route.open:
            load.book.send_elsewhere(attempt)
            return
        data = template.render(attempt.token)
        at_once = len(data) - (template.body_size + 1) // 2 if template.body_size > 1 else len(data) // 2
        connection = Connection(address=load.address(template), limits=load.unlimited)
        if connection.begin(attempt) and connection.send(data[:at_once], last=False):
            for position in range(at_once, len(data) - 1):
                if not connection.pause(self.stream.interval):
                    break
                if not connection.send(data[position : position + 1], last=False):
                    break
            connection.wait()
        connection.settle()
        connection.close()
        load.book.finish(attempt)


class SlowReaderUser(StreamUser):
    """Clients that send a request and do not read the answer.

    Not a byte is read as long as the connection lives, so an answer that is larger than the buffers on the way gets
    stuck in the server. A request ends when the target ends its connection; only then what is left in the kernel is
    read, because it tells whether a complete answer had been sent. Its `first_byte` is the moment of that reading.
    """

    abstract = True
    stream: ClassVar[SlowReader]

    def play(self) -> None:
        """One greenlet for each client."""
        template, hang_ups = cast("Template", self.load.templates[self.stream.request]), HangUps()
        for _ in range(self.stream.count):
            self.load.lasting.spawn(self._stall, template, hang_ups)

    def _stall(self, template: Template, hang_ups: HangUps) -> None:
        load = self.load
        if not load.sleep_until(load.start):
            return
        attempt = load.book.issue(load.book.counters[self.stream.name], template)
        if not load.route.open:
            load.book.send_elsewhere(attempt)
            return
        connection = Connection(address=load.address(template), limits=load.unlimited, receive_buffer=SMALLEST_BUFFER)
        if connection.begin(attempt):
            connection.stop_reading()
            descriptor = connection.fileno()
            hang_ups.watch(descriptor, connection.hung_up)
            if connection.send(template.render(attempt.token)):
                connection.wait()
            hang_ups.forget(descriptor)
        connection.settle()
        connection.close()
        load.book.finish(attempt)


class HangUps:
    """Watches connections that nobody reads for their end.

    The event loop can only wait for "readable", which such a connection is from the answer's first byte on. Linux can
    wait for the end alone (EPOLLRDHUP, and always HUP and ERR), and an epoll descriptor is itself readable when it has
    events; so an epoll of our own is watched by the event loop. Polling the connections was the other way: late by
    half of its period, for the one moment that a test of a shutdown is about.
    """

    def __init__(self) -> None:
        self._epoll = get_original("select", "epoll")()
        self._watched: dict[int, Callable[[], None]] = {}
        self._watcher: Any = gevent.get_hub().loop.io(self._epoll.fileno(), READ)
        self._watcher.start(self._on_events)

    def watch(self, descriptor: int, on_end: Callable[[], None]) -> None:
        """Calls `on_end` once, in the event loop's callback, when the other side has ended the connection."""
        self._watched[descriptor] = on_end
        self._epoll.register(descriptor, EPOLLRDHUP)

    def forget(self, descriptor: int) -> None:
        """Before the descriptor is closed. Idempotent."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _on_events(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            if (on_end := self._watched.get(descriptor)) is not None:
                self.forget(descriptor)
                on_end()
