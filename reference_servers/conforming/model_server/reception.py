"""While no worker is up, somebody has to say so: the supervisor takes the connections and answers each with a 503.

A connection that waits in the queue of a listener looks accepted to its client, who then waits for as long as his
patience lasts. Lost: to close the listener meanwhile (a refused connection is an answer too, but what waits in the
queue at that moment is reset, and the port could be taken by somebody else).

One short-lived thread for each connection: there are few, and they must not keep the supervisor from its work.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

PATIENCE = 1.0
"""Seconds that a client gets to send its request, and to close after the answer."""

MOST = 65536
"""Bytes of a request that are read before it is answered."""

Describe = Callable[[], Mapping[str, Any]]


class Reception:
    """Answers for workers that are not there."""

    def __init__(self, *, describe: Describe) -> None:
        self.describe = describe
        self.threads: list[threading.Thread] = []

    def take(self, listener: socket.socket) -> None:
        """Accepts everything that waits. `listener` does not block."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            thread = threading.Thread(target=self.answer, args=(connection,), daemon=True)
            thread.start()
            self.threads = [*(one for one in self.threads if one.is_alive()), thread]

    def answer(self, connection: socket.socket) -> None:
        """Reads one request, answers it, and closes when the client has taken the answer."""
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(PATIENCE)
            status, body = self.say(read_request(connection))
            text = json.dumps(body).encode()
            head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            connection.sendall(f"{head}Retry-After: 1\r\nConnection: close\r\n\r\n".encode() + text)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):  # closed with bytes unread, the connection would be reset
                pass

    def say(self, request: str) -> tuple[str, Mapping[str, Any]]:
        """Status and body for a request line."""
        method, path, *_ = [*request.split(" "), "", ""]
        if (method, path) == ("GET", "/live"):
            return "200 OK", {"live": True}
        if (method, path) == ("GET", "/workers"):
            return "200 OK", self.describe()
        return "503 Service Unavailable", {"ready": False, "error": "no worker is up"}

    def close(self) -> None:
        """Lets the answers that are on their way leave."""
        until = time.monotonic() + PATIENCE
        for thread in self.threads:
            thread.join(max(0.0, until - time.monotonic()))


def read_request(connection: socket.socket) -> str:
    """The request line; everything else of the request is read as well. Raises OSError, or ValueError for no HTTP."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < MOST:
        if not (more := connection.recv(4096)):
            raise ValueError("no request came")
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    line, *headers = head.decode("latin-1").split("\r\n")
    lengths = [
        value for name, _, value in (header.partition(":") for header in headers) if name.lower() == "content-length"
    ]
    missing = int(lengths[0]) - len(body) if lengths else 0
    while missing > 0 and (more := connection.recv(min(missing, 4096))):
        missing -= len(more)
    return line
