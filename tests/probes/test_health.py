"""Health: each way in which a real server can answer, or not."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from drainproof.probes import health

Answer = Callable[[socket.socket], None]
Serve = Callable[[Answer], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that reads the head of one request and does with the connection what the test says."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threads: list[threading.Thread] = []

        def start(answer: Answer) -> int:
            def run() -> None:
                connection, _ = listener.accept()
                with connection:
                    data = b""
                    while b"\r\n\r\n" not in data:
                        data += connection.recv(4096)
                    assert data.startswith(b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1")
                    assert b"\r\nConnection: close\r\n" in data
                    answer(connection)

            threads.append(threading.Thread(target=run, daemon=True))
            threads[-1].start()
            return int(listener.getsockname()[1])

        yield start
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()


def look(port: int, timeout: float = 5.0) -> health.HealthSample:
    seen = health.probe(host="127.0.0.1", port=port, path="/ready", timeout=timeout)
    assert seen is not None
    return seen


def end(connection: socket.socket) -> None:
    """Waits until the client closes."""
    while connection.recv(4096):
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_whole_answer_ends_the_probe_although_the_server_does_not_close(serve: Serve, data: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(data)
        end(connection)

    started = time.monotonic()
    seen = look(serve(answer), timeout=30.0)
    assert seen.value() == {"status": 200}
    assert started <= seen.t0 <= seen.t
    assert time.monotonic() - started < 15


def test_the_status_is_the_servers(serve: Serve) -> None:
    seen = look(serve(lambda c: c.sendall(b"HTTP/1.0 503 Service Unavailable\r\n\r\nshutting down")))
    assert seen.value() == {"status": 503}
    assert not seen.positive


def test_a_status_counts_although_the_body_hangs(serve: Serve) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok")
        end(connection)

    seen = look(serve(answer), timeout=0.3)
    assert seen.value() == {"status": 200}
    assert seen.positive


def test_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # a port that is ours and that nobody listens on
        assert look(bound.getsockname()[1]).value() == {"failure": "refused"}


def test_reset(serve: Serve) -> None:
    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert look(serve(answer)).value() == {"failure": "reset"}


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"])
def test_end_before_the_head_is_complete(serve: Serve, data: bytes) -> None:
    assert look(serve(lambda c: c.sendall(data))).value() == {"failure": "eof"}


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1\r\n\r\n"])
def test_not_http(serve: Serve, data: bytes) -> None:
    assert look(serve(lambda c: c.sendall(data))).value() == {"failure": "protocol"}


def test_silence_is_a_timeout(serve: Serve) -> None:
    started = time.monotonic()
    assert look(serve(end), timeout=0.2).value() == {"failure": "timeout"}
    assert time.monotonic() - started >= 0.2


def test_a_connection_in_the_accept_queue_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert look(listener.getsockname()[1], timeout=0.2).value() == {"failure": "timeout"}


def test_a_probe_that_nobody_waits_for_ends_at_once(serve: Serve) -> None:
    over = threading.Event()
    threading.Timer(0.1, over.set).start()
    started = time.monotonic()
    seen = health.probe(host="127.0.0.1", port=serve(end), path="/ready", timeout=60, cancelled=over.is_set)
    assert seen is None
    assert time.monotonic() - started < 30
