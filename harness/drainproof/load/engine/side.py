"""One end of a tap: a socket with what waits to be written to it, in callbacks of the event loop."""

from __future__ import annotations

import errno
from _socket import socket as kernel_socket  # the class that gevent does not replace
from collections.abc import Callable
from typing import Any

import gevent

from drainproof.load.engine.http import READ, WRITE

PIECE = 1 << 16
"""Bytes that are read at a time."""


class Side:
    """One end of a tap: a socket, what waits to be written to it, and its two watchers."""

    def __init__(
        self,
        sock: kernel_socket,
        on_data: Callable[[bytes | None, str | None], None],
        on_drained: Callable[[], None],
    ) -> None:
        """`on_data` takes what was read; None at the end, with an error's name unless it was orderly."""
        loop: Any = gevent.get_hub().loop
        self.sock: kernel_socket | None = sock
        self.backlog = bytearray()
        self._on_data = on_data
        self._on_drained = on_drained
        self._reader = loop.io(sock.fileno(), READ)
        self._writer = loop.io(sock.fileno(), WRITE)
        self._closing = False

    def read(self) -> None:
        """Reads from now on."""
        if self.sock is not None and not self._reader.active:
            self._reader.start(self.read_now)

    def stop_reading(self) -> None:
        """Reads no more for now."""
        if self.sock is not None:
            self._reader.stop()

    def when_writable(self, then: Callable[[], None]) -> None:
        """Calls `then` once, when the socket can be written to: a connection attempt is over."""

        def ring() -> None:
            self._writer.stop()
            then()

        self._writer.start(ring)

    def send(self, data: bytes) -> bool:
        """Writes, and keeps what does not fit. False where the socket is broken."""
        if self.sock is None:
            return False
        if self.backlog:
            self.backlog += data
            return True
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            count = 0
        except OSError:
            return False
        if count < len(data):
            self.backlog += data[count:]
            self._writer.start(self._on_writable)
        return True

    def close_when_drained(self) -> None:
        """Closes after the last byte has been written."""
        if self.backlog:
            self._closing = True
            self.stop_reading()
        else:
            self.close()

    def close(self) -> None:
        """Closes the socket. Idempotent."""
        if self.sock is not None:
            for watcher in (self._reader, self._writer):
                watcher.stop()
                watcher.close()
            self.sock.close()
            self.sock = None

    def read_now(self) -> bool:
        """Reads once and hands over what there is. False if there is nothing."""
        if self.sock is None:
            return False
        try:
            data = self.sock.recv(PIECE)
        except BlockingIOError:
            return False
        except OSError as error:
            self.stop_reading()
            self._on_data(None, errno.errorcode.get(error.errno or 0, str(error)))
            return True
        if not data:
            self.stop_reading()
        self._on_data(data or None, None)
        return True

    def _on_writable(self) -> None:
        assert self.sock is not None
        try:
            del self.backlog[: self.sock.send(self.backlog)]
        except BlockingIOError:
            return
        except OSError:
            self.backlog.clear()  # the reading side finds out how it ended
        if self.backlog:
            return
        self._writer.stop()
        if self._closing:
            self.close()
        else:
            self._on_drained()
