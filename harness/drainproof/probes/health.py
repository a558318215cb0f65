"""One look at a health path: a fresh connection, one request, one answer or one failure.

Plain sockets and no HTTP library, for two reasons. A probe must tell *how* it failed (a refused connection is a closed
listener, a timeout is a hanging server), and libraries fold that into one error. And a probe that hangs must end at
once when the experiment is over, so it waits in short slices and asks between them whether anybody still wants to know.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Failure = Literal["refused", "reset", "timeout", "eof", "protocol"]
"""`refused`: nobody listens; `reset`: the server broke the connection; `timeout`: no complete head in time;
`eof`: closed in order, but before a complete head; `protocol`: what came is not HTTP."""

TIMEOUT = 1.0
"""Seconds for a whole probe; the kubelet's default."""

_SLICE = 0.05
_MAX_HEAD = 64 * 1024
_MAX_BODY = 1024 * 1024
_RESETS = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED}


@dataclass(frozen=True, kw_only=True)
class HealthSample:
    """What one look saw, between the moments `t0` and `t` (monotonic seconds). Exactly one of the two is set."""

    t0: float
    t: float
    status: int | None = None
    failure: Failure | None = None

    @property
    def positive(self) -> bool:
        """A status from 200 to 399, as the kubelet counts it."""
        return self.status is not None and 200 <= self.status < 400

    def value(self) -> dict[str, Any]:
        """`{"status": 200}` or `{"failure": "refused"}`."""
        return {"failure": self.failure} if self.status is None else {"status": self.status}


class _ProbeError(Exception):
    """The probe ends here: with this failure, or (`None`) because nobody wants the answer any more."""

    def __init__(self, failure: Failure | None) -> None:
        self.failure: Failure | None = failure


def probe(
    *, host: str, port: int, path: str, timeout: float = TIMEOUT, cancelled: Callable[[], bool] = lambda: False
) -> HealthSample | None:
    """GETs `path` once over a new connection that is closed afterwards; `None` soon after `cancelled` says yes.

    The status counts as soon as the head is complete; the body is then read within the same time, so that the server
    sees an orderly client, but nothing depends on it. Raises OSError where the failure is this machine's and says
    nothing about the server (no free local port, no route).
    """
    t0 = time.monotonic()
    wait = _Waiter(until=t0 + timeout, cancelled=cancelled)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            _connect(connection, wait, host, port)
            _send(connection, wait, _request(host, port, path))
            head, rest = _read_head(connection, wait)
            status = _status(head)
        except _ProbeError as end:
            return HealthSample(t0=t0, t=time.monotonic(), failure=end.failure) if end.failure else None
        t = time.monotonic()
        with contextlib.suppress(_ProbeError, OSError):
            _read_body(connection, wait, head, rest)
    return HealthSample(t0=t0, t=t, status=status)


class _Waiter:
    """Waits for a socket, up to one moment for the whole probe."""

    def __init__(self, *, until: float, cancelled: Callable[[], bool]) -> None:
        self._until = until
        self._cancelled = cancelled

    def ready(self, connection: socket.socket, event: int) -> None:
        """Returns when the socket is ready (or broken: the next call on it says how)."""
        poll = select.poll()
        poll.register(connection, event)
        while True:
            if self._cancelled():
                raise _ProbeError(None)
            left = self._until - time.monotonic()
            if left <= 0:
                raise _ProbeError("timeout")
            if poll.poll(min(left, _SLICE) * 1000):
                return


def _connect(connection: socket.socket, wait: _Waiter, host: str, port: int) -> None:
    code = connection.connect_ex((host, port))
    if code == errno.EINPROGRESS:
        wait.ready(connection, select.POLLOUT)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code == errno.ECONNREFUSED:
        raise _ProbeError("refused")
    if code == errno.ETIMEDOUT:
        raise _ProbeError("timeout")
    if code:
        _raise(OSError(code, f"connecting to {host}:{port} failed"))


def _send(connection: socket.socket, wait: _Waiter, data: bytes) -> None:
    while data:
        try:
            data = data[connection.send(data) :]
        except BlockingIOError:
            wait.ready(connection, select.POLLOUT)
        except OSError as error:
            _raise(error)


def _receive(connection: socket.socket, wait: _Waiter) -> bytes:
    while True:
        wait.ready(connection, select.POLLIN)
        try:
            return connection.recv(65536)
        except BlockingIOError:
            continue
        except OSError as error:
            _raise(error)


def _raise(error: OSError) -> None:
    if error.errno in _RESETS:
        raise _ProbeError("reset") from error
    raise error


def _request(host: str, port: int, path: str) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: drainproof-probe\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode()


def _read_head(connection: socket.socket, wait: _Waiter) -> tuple[bytes, bytes]:
    """The head of the final answer and what came behind it; interim answers (1xx) are skipped."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end:
            if not 100 <= _status(head) < 200:
                return head, rest
            data = rest
            continue
        if len(data) > _MAX_HEAD or not b"HTTP/1.".startswith(data[:7]):
            raise _ProbeError("protocol")
        more = _receive(connection, wait)
        if not more:
            raise _ProbeError("eof")
        data += more


def _status(head: bytes) -> int:
    version, _, rest = head.partition(b" ")
    code = rest[:3]
    if version not in (b"HTTP/1.0", b"HTTP/1.1") or not (len(code) == 3 and code.isdigit()):
        raise _ProbeError("protocol")
    return int(code)


def _read_body(connection: socket.socket, wait: _Waiter, head: bytes, rest: bytes) -> None:
    """Reads to the end of the body: some servers keep the connection open although they were asked to close it."""
    fields = {}
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip()] = value.strip()
    chunked = fields.get(b"transfer-encoding", b"").endswith(b"chunked")
    declared = fields.get(b"content-length", b"")
    length = 0 if _status(head) in (204, 304) else int(declared) if declared.isdigit() else _MAX_BODY
    seen = len(rest)
    while seen < min(length, _MAX_BODY) and not (chunked and rest.endswith(b"0\r\n\r\n")):
        more = _receive(connection, wait)
        if not more:
            return
        seen += len(more)
        rest = (rest + more)[-5:]
