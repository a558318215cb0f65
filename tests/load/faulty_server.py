"""A server that breaks its answers in every way it knows, and keeps its own count of the requests it has read.

The path names the way: `/eof_in_head?TOKEN`. Each way is a function below that gets the connection after a whole
request was read, and returns whether the connection goes on.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
HALF_HEAD = b"HTTP/1.1 200 OK\r\nContent-Ty"


class Connection:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: FaultyServer) -> None:
        self.sock = sock
        self.server = server
        self.served = 0
        self.token = b""
        self.method = b""
        self._read = b""

    def request(self) -> str | None:
        """Reads a whole request and returns the way it asks for; None when the client has closed."""
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                return None
        head, self._read = self._read.split(b"\r\n\r\n", 1)
        line, *headers = head.split(b"\r\n")
        length = next((int(h.split(b":")[1]) for h in headers if h.lower().startswith(b"content-length:")), 0)
        self.method, target, _ = line.split(b" ")
        way, _, self.token = target[1:].partition(b"?")
        if way != b"too_large":
            while len(self._read) < length:
                if not self._more():
                    return None
            self._read = self._read[length:]
        self.served += 1
        return way.decode()

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._read += data
        return bool(data)

    def send(self, data: bytes) -> bool:
        self.sock.sendall(data)
        return True

    def ok(self) -> bool:
        return self.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(self.token) + self.token)

    def eof(self) -> bool:
        """A clean end."""
        self.sock.shutdown(socket.SHUT_RDWR)
        return False

    def close_unread(self) -> bool:
        """Closes for writing when the next request is there, and entirely a little later, without having read it."""
        self.sock.recv(1, socket.MSG_PEEK)
        self.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.05)
        return False

    def reset(self) -> bool:
        """The connection breaks."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        return False

    def hang(self) -> bool:
        self.server.closing.wait()
        return False


def _chunked(c: Connection, *chunks: bytes) -> bool:
    return c.send(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(x), x) for x in chunks)
    )


WAYS: dict[str, Callable[[Connection], bool]] = {
    # Complete answers
    "ok": Connection.ok,
    "chunked": lambda c: _chunked(c, c.token[:3], c.token[3:], b""),
    "close_delimited": lambda c: c.send(HEAD + b"\r\n" + c.token) and c.eof(),
    "http_1_0": lambda c: c.send(HEAD.replace(b"1.1", b"1.0") + b"\r\n" + c.token) and c.eof(),
    "close_announced": lambda c: c.send(
        HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(c.token) + c.token
    ),
    "continue": lambda c: c.send(b"HTTP/1.1 100 Continue\r\n\r\n") and c.ok(),
    "early_hints": lambda c: c.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") and c.ok(),
    "no_content": lambda c: c.send(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "not_modified": lambda c: c.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n"),
    "head": lambda c: c.send(HEAD + b"Content-Length: 100\r\n\r\n"),
    "head_without_length": lambda c: c.send(HEAD + b"\r\n"),
    "busy": lambda c: c.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy") and c.eof(),
    "wrong_token": lambda c: c.send(HEAD + b"Content-Length: 5\r\n\r\nhello"),
    "empty": lambda c: c.send(HEAD + b"Content-Length: 0\r\n\r\n"),
    "more_than_asked": lambda c: c.ok() and c.send(b"and more"),
    "large": lambda c: c.send(HEAD + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000),
    "too_large": lambda c: (
        c.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig") and c.eof()
    ),
    # No answer, or a part of one
    "eof_before_head": Connection.eof,
    "reset_before_head": Connection.reset,
    "eof_in_head": lambda c: c.send(HALF_HEAD) and c.eof(),
    "reset_in_head": lambda c: c.send(HALF_HEAD) and c.reset(),
    "eof_in_body": lambda c: c.send(HEAD + b"Content-Length: 100\r\n\r\nhalf") and c.eof(),
    "reset_in_body": lambda c: c.send(HEAD + b"Content-Length: 100\r\n\r\nhalf") and c.reset(),
    "reset_after_head": lambda c: c.send(HEAD + b"Content-Length: 100\r\n\r\n") and c.reset(),
    "eof_in_chunk": lambda c: _chunked(c, b"half") and c.eof(),
    "reset_in_chunk": lambda c: _chunked(c, b"half") and c.reset(),
    "close_delimited_reset": lambda c: c.send(HEAD + b"\r\n" + c.token) and c.reset(),
    "busy_cut": lambda c: c.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 40\r\n\r\nbusy") and c.eof(),
    "continue_then_eof": lambda c: c.send(b"HTTP/1.1 100 Continue\r\n\r\n") and c.eof(),
    "hang": Connection.hang,
    "hang_in_head": lambda c: c.send(HALF_HEAD) and c.hang(),
    "hang_in_body": lambda c: c.send(HEAD + b"Content-Length: 100\r\n\r\nhalf") and c.hang(),
    "garbage": lambda c: c.send(b"hello world\r\n\r\n") and c.eof(),
    "bad_chunk": lambda c: c.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n") and c.eof(),
    "upgrade": lambda c: c.send(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n") and c.eof(),
    # What happens on a connection that is kept
    "idle_eof": lambda c: c.ok() and c.eof(),
    "idle_reset": lambda c: c.ok() and c.reset(),
    "idle_data": lambda c: c.ok() and c.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n"),
    "second_eof": lambda c: c.ok() if c.served == 1 else c.eof(),
    "second_reset": lambda c: c.ok() if c.served == 1 else c.reset(),
    "second_unread": lambda c: c.ok() and c.close_unread(),
    "stall": lambda c: c.server.gate.wait() and c.ok(),
}


class FaultyServer:
    """Serves on a free port with a thread for each connection, until `close`."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        """How often each token was read as a whole request."""
        self.connections = 0
        self.closing = threading.Event()
        self.gate = threading.Event()
        """The way `stall` answers while this is set."""
        self.gate.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Closes the listener and every connection."""
        self.closing.set()
        self.gate.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.close_connections()

    def close_connections(self) -> None:
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (way := connection.request()) is not None:
                with self._lock:
                    self.requests[connection.token.decode()] += 1
                if not WAYS[way](connection):
                    break
        with self._lock:
            self._open.discard(sock)
        sock.close()
