"""The judging client: one attempt per request, HTTP/1.1, never a retry, and exact about how an attempt ended.

The clients that come with Locust cannot be the judge. `FastHttpUser` sends a GET up to 12 times when its connection is
lost, and reports the loss of none; `HttpUser` takes a head that was cut for a 200. Hence a client of our own.

Mechanism. A connection owns a non-blocking socket of the kernel and *one* read watcher, which stays active for as long
as the connection lives. The watcher's callback reads, stamps, and feeds the parser; the greenlet that made the request
sleeps meanwhile, and is woken once, when the request is over: answered, failed, out of time or aborted. So the end of a
request is one assignment in one place (`_over`), whoever caused it, and no exception is ever thrown into a greenlet
from outside, where it might hit the next request instead. An idle connection's close is noticed in the moment it
happens, by the same watcher. gevent's own sockets cost more for each request: a watcher started and stopped and a timer
object for each read, and an exception for each read that would block.

TLS would join in `_connect` (handshake after the TCP connection, with its own phase) and in the two calls that touch
the bytes: `recv_into` in `_read` and `send` in `_send`.
"""

from __future__ import annotations

import errno
import struct
from _socket import socket as kernel_socket  # the class that gevent does not replace
from collections.abc import Callable
from socket import (
    AF_INET,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_PEEK,
    SO_ERROR,
    SO_RCVBUF,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_INFO,
    TCP_NODELAY,
)
from time import monotonic
from typing import Any

import gevent
from gevent import getcurrent

from drainproof.load.engine.answer import Answer
from drainproof.load.engine.book import Attempt
from drainproof.load.engine.deadlines import Limits
from drainproof.load.ledger import Cause

READ, WRITE = 1, 2

OWN_SHORTAGES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""Errors of a connection attempt that never left this machine's kernel: they say nothing about the target."""

_CLOSED, _CLOSE_WAIT = b"\x07", b"\x08"
"""States at the beginning of `struct tcp_info`."""

AFTERMATH = 0.5
"""Seconds to wait for the reset that may follow a FIN. The client makes no other request meanwhile."""

RESETS = {errno.ECONNRESET, errno.EPIPE}

_BUFFER = bytearray(1 << 18)
_VIEW = memoryview(_BUFFER)


class Connection:
    """A TCP connection to the target, for one request at a time.

    `carry` takes it through `_connect` (unless it is connected), `_send` and the watcher's `_read` until `over`.
    """

    __slots__ = (
        "_address",
        "_answer",
        "_attempt",
        "_base",
        "_greenlet",
        "_hub",
        "_limits",
        "_loop",
        "_over",
        "_reader",
        "_receive_buffer",
        "_sent_total",
        "_sock",
        "on_idle_end",
        "port",
        "reusable",
        "uses",
    )

    def __init__(self, *, address: tuple[str, int], limits: Limits, receive_buffer: int | None = None) -> None:
        """Not connected yet. `receive_buffer`: SO_RCVBUF, for a reader that shall be slow."""
        self._hub: Any = gevent.get_hub()
        self._loop = self._hub.loop
        self._address = address
        self._limits = limits
        self._receive_buffer = receive_buffer
        self._sock: kernel_socket | None = None
        self._reader: Any = None
        self._greenlet: Any = None
        self._attempt: Attempt | None = None
        self._answer = Answer()
        self._over = False
        self._base: int | None = None
        self._sent_total = 0
        self.port = 0
        self.uses = 0
        """How many requests it has carried, the current one included."""
        self.reusable = False
        """It is open, and the last answer allows another request."""
        self.on_idle_end: Callable[[str], None] | None = None
        """Called in the event loop's callback when the idle connection ended by `eof`, `reset` or `data`."""

    # --- The greenlet's side -----------------------------------------------------------------------------------------

    def carry(self, attempt: Attempt, data: bytes) -> None:
        """Carries one request out: on return it is answered or failed. Never raises for what the target does."""
        if self.begin(attempt) and self.send(data):
            self.wait()
        self.settle()

    def begin(self, attempt: Attempt) -> bool:
        """Makes `attempt` the current request and connects if need be. False if it is over already."""
        self._attempt = attempt
        attempt.connection = self
        self._answer.begin(attempt)
        self._over = self.reusable = False
        self.uses += 1
        attempt.sequence = self.uses
        if self._limits.whole is not None:
            self._limits.whole.add(attempt)
        if self._sock is None:
            self._limits.connect.add(attempt)
            self._connect(attempt)
            self._limits.connect.discard(attempt)
        else:
            attempt.reused = True
            attempt.port = self.port
            attempt.phase = "send"
        return not self._over

    def send(self, data: bytes, *, last: bool = True) -> bool:
        """Hands (`last`: the last part of) the request to the kernel. False if it was over before that."""
        attempt = self._attempt
        assert attempt is not None and self._sock is not None
        if attempt.send_start is None:
            attempt.send_start = monotonic()
        try:
            count = self._sock.send(data)
        except OSError as error:
            count = 0
            if not isinstance(error, BlockingIOError):
                self._send_failed(error)
        attempt.bytes_sent += count
        if attempt.reused and count and self._base is not None:
            attempt.late = came_late(self._sock, before=self._base + self._sent_total)
        if count < len(data):
            self._send_rest(attempt, memoryview(data)[count:])
        if self._over:
            return False
        if last:
            attempt.sent = monotonic()
            if attempt.phase == "send":
                attempt.phase = "waiting"
        return True

    def wait(self) -> None:
        """Sleeps until the request is over."""
        while not self._over:
            self._sleep()

    def pause(self, seconds: float) -> bool:
        """Sleeps for a while in the middle of a request. False if it was over before."""
        return not self._over and self._wait_with(self._loop.timer(seconds))

    def settle(self) -> None:
        """Leaves the connection ready for another request, or closed. The greenlet's last word on this request."""
        attempt = self._attempt
        assert attempt is not None
        if self._limits.whole is not None:
            self._limits.whole.discard(attempt)
        self._sent_total += attempt.bytes_sent
        if attempt.cause is not None and attempt.phase != "connect":
            attempt.acknowledged = self._acknowledged(attempt)
            if attempt.cause == "eof" and attempt.first_byte is None and self._resets_after_its_eof():
                attempt.cause, attempt.error = "reset", "after an EOF"
        if attempt.cause is None:
            self._answer.judge()
        self._answer.settle()
        self._attempt = attempt.connection = None
        if not (self.reusable and attempt.sent is not None):
            self.close()

    def _resets_after_its_eof(self) -> bool:
        """Whether a reset follows the end of stream: the target closed the socket with our bytes unread.

        A target may close for writing first (a FIN) and then entirely; what it has not read is told by the reset only.
        It comes a turn of its event loop later, so it is waited for; the end of the request is the FIN all the same.
        """
        assert self._sock is not None
        self._reader.stop()  # at the end of a stream it would ring without end
        until, pause = monotonic() + AFTERMATH, 0.002
        while (state := _state(self._sock)) == _CLOSE_WAIT and monotonic() < until:
            gevent.sleep(pause)
            pause *= 1.5
        return state == _CLOSED

    def is_alive(self) -> bool:
        """Whether an idle connection is still good for a request. False: nothing was sent, so a new one is no retry."""
        if not self.reusable or self._sock is None:
            return False
        try:
            self._sock.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # closed by the target, or there are bytes that nobody asked for

    def open_silent(self, attempt: Attempt) -> bool:
        """Only connects. `attempt` is not recorded: it tells how that went. False if it failed."""
        self.reusable = self.begin(attempt)
        if self._limits.whole is not None:
            self._limits.whole.discard(attempt)
        self._attempt = attempt.connection = None
        if not self.reusable:
            self.close()
        return self.reusable

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        self.reusable = False
        if self._sock is not None:
            self._reader.stop()
            self._reader.close()
            self._reader = None
            self._sock.close()
            self._sock = None
        self._answer.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 without one."""
        return -1 if self._sock is None else self._sock.fileno()

    def stop_reading(self) -> None:
        """From now on nothing is read; what the target sends stays in the kernel until `hung_up`."""
        self._reader.stop()

    def hung_up(self) -> None:
        """The target has ended a connection that is not read: now reads what is left, and so learns what was sent.

        For the event loop's callbacks.
        """
        self._read_rest()
        if not self._over:
            self._end("reset", None)
        self._wake()

    def fail(self, cause: Cause, error: str | None = None) -> None:
        """Ends the current request from outside: out of time, or the load is over. For the event loop's callbacks."""
        self._end(cause, error)
        self._wake()

    # --- Connecting and sending --------------------------------------------------------------------------------------

    def _connect(self, attempt: Attempt) -> None:
        attempt.connect_start = monotonic()
        try:
            sock = kernel_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
            self._sock = sock
            self._reader = self._loop.io(sock.fileno(), READ)
            if self._receive_buffer is not None:
                sock.setsockopt(SOL_SOCKET, SO_RCVBUF, self._receive_buffer)
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            number = sock.connect_ex(self._address)
        except OSError as error:
            number = error.errno or 0
        if number == errno.EINPROGRESS:
            if not self._wait_writable():
                return
            number = sock.getsockopt(SOL_SOCKET, SO_ERROR)
        if number in RESETS:
            # A SYN that is turned down is ECONNREFUSED. A reset means that the handshake was complete before.
            attempt.connected = monotonic()
            attempt.phase = "send"
            self._end("reset", errno.errorcode[number])
        elif number == 0:
            attempt.connected = monotonic()
            attempt.phase = "send"
            attempt.port = self.port = sock.getsockname()[1]
            self._base = bytes_acknowledged(sock)
            self._reader.start(self._on_readable)
        elif number in OWN_SHORTAGES:
            attempt.starved = True
            self._end("aborted", f"this machine is short of something: {errno.errorcode[number]}")
        elif number == errno.ECONNREFUSED:
            self._end("refused", "ECONNREFUSED")
        elif number == errno.ETIMEDOUT:
            self._end("connect_timeout", "ETIMEDOUT")
        else:
            self._end("connect_failed", errno.errorcode.get(number, str(number)))

    def _send_rest(self, attempt: Attempt, rest: memoryview) -> None:
        """The socket's buffer is full: sends when there is room, while the watcher reads what may come early."""
        assert self._sock is not None
        while rest and not self._over and self._wait_writable():
            try:
                count = self._sock.send(rest)
            except BlockingIOError:
                continue
            except OSError as error:
                self._send_failed(error)
                return
            attempt.bytes_sent += count
            rest = rest[count:]

    def _send_failed(self, error: OSError) -> None:
        """The connection is gone. An answer may have come before (a 413, say), and then it counts."""
        self._read_rest()
        if not self._over:
            self._end("reset", errno.errorcode.get(error.errno or 0, str(error)))

    def _read_rest(self) -> None:
        while not self._over and self._read():
            pass

    def _wait_writable(self) -> bool:
        """Sleeps until the socket can be written to. False if the request was over before."""
        return self._wait_with(self._loop.io(self.fileno(), WRITE))

    def _wait_with(self, watcher: Any) -> bool:
        """Sleeps until `watcher` rings. False if the request was over before."""
        rang = False

        def ring() -> None:
            nonlocal rang
            rang = True
            self._wake()

        watcher.start(ring)
        try:
            while not rang and not self._over:
                self._sleep()
        finally:
            watcher.stop()
            watcher.close()
        return not self._over

    def _sleep(self) -> None:
        self._greenlet = getcurrent()
        self._hub.switch()
        self._greenlet = None

    # --- The event loop's side ---------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._greenlet is not None:
            self._greenlet.switch()

    def _on_readable(self) -> None:
        if self._attempt is None:
            self._on_idle_readable()
        else:
            self._read()
            if self._over:
                self._wake()

    def _on_idle_readable(self) -> None:
        assert self._sock is not None
        try:
            how = "data" if self._sock.recv(1, MSG_PEEK | MSG_DONTWAIT) else "eof"
        except BlockingIOError:
            return
        except OSError:
            how = "reset"
        self.close()
        if self.on_idle_end is not None:
            self.on_idle_end(how)

    def _read(self) -> bool:
        """One read, for the current request. False if there was nothing to read."""
        attempt = self._attempt
        assert attempt is not None and self._sock is not None
        try:
            count = self._sock.recv_into(_BUFFER)
        except BlockingIOError:
            return False
        except OSError as error:
            self._end("reset", errno.errorcode.get(error.errno or 0))
            return True
        now = monotonic()
        answer = self._answer
        if count == 0:
            if answer.ends_here():
                attempt.end = now
                self._over = True
            else:
                self._end("eof", None)
            return True
        attempt.bytes_received += count
        if (error_text := answer.feed(_VIEW[:count], now)) is not None:
            self._end("protocol", error_text)
        elif answer.complete and not self._over:
            attempt.end = now
            self.reusable = answer.keep
            self._over = True
        return True

    def _end(self, cause: Cause | None, error: str | None) -> None:
        attempt = self._attempt
        if attempt is None or self._over:
            return
        attempt.end = monotonic()
        attempt.cause = cause
        attempt.error = error
        self._over = True
        self.reusable = False

    def _acknowledged(self, attempt: Attempt) -> bool | None:
        """Whether the target's kernel had the whole request; see `RequestRecord.acknowledged`."""
        if attempt.late:
            return False
        if self._sock is None or self._base is None:
            return None
        acknowledged = bytes_acknowledged(self._sock)
        if acknowledged is None:
            return None
        if attempt.sent is not None and acknowledged - self._base >= self._sent_total:
            return True
        # A reset tells nothing of what arrived: it overtakes an acknowledgement that the kernel delayed.
        return None if attempt.cause == "reset" and attempt.sent is not None else False


def came_late(sock: kernel_socket, *, before: int) -> bool:
    """Whether the target's FIN left before what was just sent came: it is here, and acknowledges none of it.

    `before`: `bytes_acknowledged` of all that was sent earlier. That the FIN is here proves nothing by itself: it may
    be that of a server which has read the request and dropped it, on the processor that our send gave it. False proves
    nothing either: the kernel acknowledges what comes to a connection that is closed for writing only, often at once.
    """
    return _state(sock) == _CLOSE_WAIT and (bytes_acknowledged(sock) or 0) <= before


def _state(sock: kernel_socket) -> bytes:
    return sock.getsockopt(IPPROTO_TCP, TCP_INFO, 1)


def bytes_acknowledged(sock: kernel_socket) -> int | None:
    """`tcpi_bytes_acked`, which counts the SYN too; None where the kernel does not tell (before 4.1)."""
    info = sock.getsockopt(IPPROTO_TCP, TCP_INFO, 128)
    return struct.unpack_from("Q", info, 120)[0] if len(info) >= 128 else None
