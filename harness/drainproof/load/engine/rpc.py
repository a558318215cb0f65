"""The judging client for gRPC: one attempt per call, made by the gRPC library over a connection that we listen to.

The library (grpcio with gevent) does what it is good at: HTTP/2, flow control, header compression, the status. The
`tap` under it says what happened on the wire, and that decides what a failed call counts as: the library has one word
for most of it. It is imported in the run's own process only, after the fork and after the patching: it starts threads
of its own, which a fork would not take along, and a run without gRPC need not pay for it.

Every call is made as a call with a stream of answers, which on the wire is the same as one with a single answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
import grpc
from gevent.lock import Semaphore
from grpc.experimental import gevent as grpc_gevent

from drainproof.load.answer import grpc_code, what_is_wrong_over_grpc
from drainproof.load.engine.book import Attempt, Book, Counter
from drainproof.load.engine.deadlines import Limits
from drainproof.load.engine.frames import REFUSED_STREAM, error_name
from drainproof.load.engine.route import Route
from drainproof.load.engine.tap import Exchange, Tap
from drainproof.load.engine.template import MAX_KEPT, RpcTemplate
from drainproof.load.grpc_options import channel_options
from drainproof.load.ledger import Cause
from drainproof.load.plan import Connections

THREADS = 10_000
"""Each channel occupies one thread of gevent's pool while it has calls; the pool makes them as they are needed."""


def initialize() -> None:
    """Makes the library wait in gevent's way. To be called once, after the patching, before the first channel."""
    grpc_gevent.init_gevent()
    gevent.get_hub().threadpool.maxsize = THREADS


class Call(Exchange):
    """One call: the attempt, what the wire tells of it, and the library's handle on it."""

    __slots__ = ("_starting", "given_up", "handle", "over")

    def __init__(self, attempt: Attempt, starting: Semaphore) -> None:
        super().__init__(attempt, self.release)
        self._starting: Semaphore | None = starting
        self.handle: Any = None
        self.over = False
        """We ended it ourselves."""
        self.given_up: Cause | None = None
        """Why we told the library to end it, whether its answer was there or not."""

    def release(self) -> None:
        """The next call may start on this connection. Idempotent."""
        if self._starting is not None:
            self._starting.release()
            self._starting = None

    def fail(self, cause: Cause, error: str | None = None) -> None:
        """Ends it from outside: out of time, or the load is over. For the event loop's callbacks."""
        if self.given_up is not None:
            return
        self.given_up = cause
        if self.ended is None:
            self.over = True
            _end(self.attempt, cause, error)
        if self.handle is not None:  # also where the answer is there: the library may never take it
            gevent.spawn(self.handle.cancel)  # it takes a lock, which a callback must not wait for


def _end(attempt: Attempt, cause: Cause, error: str | None, at: float | None = None) -> None:
    attempt.cause, attempt.error = cause, error
    attempt.end = monotonic() if at is None else at


class RpcConnection:
    """A channel of the library with one connection, for one call at a time or for many."""

    def __init__(self, *, address: tuple[str, int], limits: Limits, route: Route) -> None:
        self.tap = Tap(address=address, route=route)
        self._limits = limits
        self._starting = Semaphore()
        self._channel = grpc.insecure_channel(
            self.tap.target, options=channel_options(authority=f"{address[0]}:{address[1]}")
        )
        self.uses = 0
        self.active = 0
        """How many calls are on it, or wait to be."""

    @property
    def reusable(self) -> bool:
        """Another call may be made on it."""
        return self.tap.usable

    @property
    def spent(self) -> bool:
        """No other call will be taken on it. False while it is connecting."""
        return not self.tap.usable and (self.tap.connected is not None or self.tap.lost is not None)

    @property
    def port(self) -> int:
        """The local port of its connection."""
        return self.tap.port

    @property
    def on_idle_end(self) -> Callable[[str], None] | None:
        """Called in the event loop's callback when the connection ended by `eof` or `reset`."""
        return self.tap.on_lost

    @on_idle_end.setter
    def on_idle_end(self, callback: Callable[[str], None]) -> None:
        self.tap.on_lost = callback

    def carry(self, attempt: Attempt, message: bytes) -> None:
        """Carries one call out: on return it is answered or failed. Never raises for what the target does."""
        self.uses += 1
        self.active += 1
        call = Call(attempt, self._starting)
        attempt.offered = attempt.offered or monotonic()  # what follows may wait for the target
        attempt.connection = call
        attempt.sequence = self.uses
        attempt.reused = self.uses > 1
        if self._limits.whole is not None:
            self._limits.whole.add(attempt)
        # One call starts at a time, so that the next call that leaves is known to be this one.
        self._starting.acquire()
        messages: list[bytes] = []
        count = 0
        if not call.over:
            count = self._play(call, message, messages)
        call.release()
        self._limits.connect.discard(attempt)
        if self._limits.whole is not None:
            self._limits.whole.discard(attempt)
        self._settle(call, messages, count)
        attempt.connection = None
        self.tap.forget(call)
        self.active -= 1

    def close(self) -> None:
        """Ends the channel and its connection. Idempotent."""
        self._channel.close()
        self.tap.close()

    def _play(self, call: Call, message: bytes, messages: list[bytes]) -> int:
        """Makes the call and takes its answer: the first `messages`, and how many there were."""
        attempt, tap = call.attempt, self.tap
        template = attempt.template
        if tap.connected is None and tap.lost is None:
            attempt.reused = False
            tap.on_connected = lambda: self._on_connected(attempt)
            self._limits.connect.add(attempt)
        else:
            attempt.phase = "send"
        tap.expect(call)
        count, kept = 0, 0
        metadata = template.metadata(attempt.token)
        with contextlib.suppress(grpc.RpcError):
            call.handle = self._channel.unary_stream(template.request.path)(message, metadata=metadata)
            if call.given_up is not None:
                call.handle.cancel()
            for answer in call.handle:
                count += 1
                if template.keeps_body and kept < MAX_KEPT:
                    messages.append(answer)
                    kept += len(answer)
        return count

    def _on_connected(self, attempt: Attempt) -> None:
        self._limits.connect.discard(attempt)
        attempt.phase = "send"

    def _settle(self, call: Call, messages: list[bytes], count: int) -> None:
        """Says in the attempt how the call ended, as the wire has it."""
        attempt, tap = call.attempt, self.tap
        if tap.connected is None:
            attempt.reused = False  # it waited for the connection together with the first call
            attempt.phase = "connect"
        elif attempt.phase == "connect" and attempt.cause != "connect_timeout":
            attempt.phase = "send"  # it waited for its turn on a connection that was there
        if not attempt.reused:
            attempt.connect_start, attempt.connected = tap.connect_start, tap.connected
        attempt.port = attempt.port or tap.port
        attempt.messages = call.messages.count
        attempt.close_announced = attempt.close_announced or tap.going_away
        attempt.torn = call.messages.within
        if call.ended is not None and not call.over:
            if call.given_up is None or not call.handle.cancelled():
                self._judge(call, messages, count)
                return
            _end(attempt, call.given_up, "the gRPC library did not take the answer")
        elif not call.over:
            self._explain(call)
        if attempt.cause != "aborted" and attempt.send_start is not None:
            attempt.acknowledged = tap.acknowledged(call)

    def _judge(self, call: Call, messages: list[bytes], count: int) -> None:
        attempt, handle = call.attempt, call.handle
        assert call.ended is not None
        attempt.end = call.ended
        attempt.status = handle.code().value[0]
        attempt.wrong = what_is_wrong_over_grpc(
            request=attempt.template.request,
            token=attempt.token,
            code=attempt.status,
            details=handle.details() or "",
            messages=messages,
            count=count,
        )
        if attempt.torn:
            attempt.wrong = "it ended within a message" + (f"; {attempt.wrong}" if attempt.wrong else "")

    def _explain(self, call: Call) -> None:
        """No status came. Why not?"""
        attempt, tap = call.attempt, self.tap
        if call.beyond or call.reset == REFUSED_STREAM:
            text = "GOAWAY" if call.beyond else "RST_STREAM with REFUSED_STREAM"
            _end(attempt, "stream_refused", text, attempt.end)
        elif call.reset is not None:
            _end(attempt, "stream_reset", f"RST_STREAM with {error_name(call.reset)}", attempt.end)
        elif tap.lost is not None:
            cause, error, at = tap.lost
            attempt.starved = tap.starved
            _end(attempt, cause, error, at)
        elif attempt.send_start is None and tap.going_away:
            _end(attempt, "stream_refused", "GOAWAY before the call left")
        elif tap.connect_start is None:
            attempt.starved = True
            _end(attempt, "aborted", f"the gRPC library did not connect: {_words(call.handle)}")
        else:
            _end(attempt, "protocol", _words(call.handle))


def _words(handle: Any) -> str:
    """What the library itself says of a call that failed."""
    if handle is None or not handle.done():
        return "the gRPC library said nothing"
    return f"{grpc_code(handle.code().value[0])}: {handle.details()}"


class RpcClient:
    """Makes the gRPC calls of one stream: what `client.Client` is for HTTP."""

    def __init__(
        self,
        *,
        book: Book,
        counter: Counter,
        template: RpcTemplate,
        address: tuple[str, int],
        limits: Limits,
        route: Route,
        connections: Connections,
    ) -> None:
        self._book = book
        self._counter = counter
        self._template = template
        self._address = address
        self._limits = limits
        self._route = route
        self._connections = connections
        self._pool: list[RpcConnection] = []

    def request(self, due: float | None = None) -> Attempt:
        """Makes one attempt and writes it down. Returns when it is over, whatever became of it; never raises."""
        attempt = self._book.issue(self._counter, self._template, due)
        message = self._template.render(attempt.token)
        while True:
            connection = self._take()
            if connection is None:
                self._book.send_elsewhere(attempt)
                return attempt
            connection.carry(attempt, message)
            self._put_back(connection)
            if not self._was_closed_before(attempt):
                break
            # The kept connection was closed before the call left: nothing was sent, so another one is no retry.
            attempt.cause = attempt.error = attempt.port = None
            attempt.reused = False
            attempt.phase = "connect"
        self._book.finish(attempt)
        return attempt

    def close(self) -> None:
        """Closes the kept connections."""
        while self._pool:
            self._pool.pop().close()

    def _was_closed_before(self, attempt: Attempt) -> bool:
        ours = attempt.cause in (None, "aborted", "timeout")
        return attempt.reused and attempt.send_start is None and not ours

    def _take(self) -> RpcConnection | None:
        """A kept connection or a new one; None where a new one would go to another endpoint."""
        shared = self._connections == "shared"
        while self._pool:
            connection = self._pool[-1] if shared else self._pool.pop()
            if connection.reusable or (shared and not connection.spent):
                return connection
            if shared:
                self._pool.pop()  # calls on it may go on; the last one closes it
            else:
                connection.close()
        if not self._route.open:
            return None
        connection = RpcConnection(address=self._address, limits=self._limits, route=self._route)
        if shared:
            self._pool.append(connection)
        return connection

    def _put_back(self, connection: RpcConnection) -> None:
        if self._connections == "reuse" and connection.reusable:
            self._pool.append(connection)
        elif self._connections != "shared" or (connection.spent and not connection.active):
            if connection in self._pool:
                self._pool.remove(connection)
            connection.close()
