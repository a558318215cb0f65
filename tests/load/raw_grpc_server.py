"""A server that speaks as much HTTP/2 as it takes to break a gRPC call in a chosen way, and counts what it has read."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

PREFACE = 24
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4

BEGIN = b"\x88\x00\x0ccontent-type\x10application/grpc"
"""`:status: 200` and the type, as a header block."""


def status(code: int) -> bytes:
    text = str(code).encode()
    return b"\x00\x0bgrpc-status" + bytes([len(text)]) + text


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def message(content: bytes) -> bytes:
    return b"\0" + struct.pack("!I", len(content)) + content


class Call:
    """A request that has been read completely, and what can be done to it."""

    def __init__(self, sock: socket.socket, stream: int, content: bytes) -> None:
        self.sock = sock
        self.stream = stream
        self.content = content

    def say(self, kind: int, payload: bytes, flags: int = 0, stream: int | None = None) -> None:
        self.sock.sendall(frame(kind, flags, self.stream if stream is None else stream, payload))

    def begin(self) -> None:
        self.say(HEADERS, BEGIN, END_HEADERS)

    def answer(self, content: bytes) -> None:
        self.say(DATA, message(content))

    def end(self, code: int = 0) -> None:
        self.say(HEADERS, status(code), END_HEADERS | END_STREAM)

    def only_status(self, code: int) -> None:
        self.say(HEADERS, BEGIN + status(code), END_HEADERS | END_STREAM)

    def break_off(self, code: int) -> None:
        self.say(RST_STREAM, struct.pack("!I", code))

    def go_away(self, last: int) -> None:
        self.say(GOAWAY, struct.pack("!II", last, 0), stream=0)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.sock.close()


class RawServer:
    """Listens, and does `way` to each call. `first`: what is done to a connection instead of saying SETTINGS."""

    def __init__(self, way: Callable[[Call], None], *, first: Callable[[socket.socket], None] | None = None) -> None:
        self.way = way
        self.first = first
        self.calls: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                self.open.append(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.first is not None:
                return self.first(sock)
            sock.sendall(frame(SETTINGS, 0, 0, b""))
            contents: dict[int, bytes] = {}
            for kind, flags, stream, payload in _frames(sock):
                if kind == SETTINGS and not flags & 1:
                    sock.sendall(frame(SETTINGS, 1, 0, b""))
                elif kind in (HEADERS, DATA):
                    contents[stream] = contents.get(stream, b"") + (payload if kind == DATA else b"")
                    if flags & END_STREAM:
                        content = contents.pop(stream)[5:]
                        self.calls.append(content)
                        self.way(Call(sock, stream, content))
        return None


def _frames(sock: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """Without `makefile`, which would keep the socket open after its `close`."""
    _read(sock, PREFACE)
    while len(head := _read(sock, 9)) == 9:
        size = int.from_bytes(head[:3], "big")
        yield head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, _read(sock, size)


def _read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return data
