"""What comes of a case, against servers that do one thing to a connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from drainproof.faults.bad_clients.cases import Case, Ends, Outcome
from drainproof.faults.bad_clients.exchange import play
from drainproof.load.plan import Expectation, Request

REQUEST = Request(name="x", method="POST", path="/", body="{token}", expect=Expectation(contains="{token}"))
Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], int]]:
    """Starts a server with one behaviour for every connection; gives its port."""
    listeners: list[socket.socket] = []

    def start(behaviour: Behaviour) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        behaviour(connection)

        threading.Thread(target=accept, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def send(
    port: int, *, ends: Ends = "never", parts: tuple[tuple[bytes, int], ...] = ((b"x", 1),), timeout: float = 5.0
) -> Outcome:
    case = Case(kind="utf-8", parts=parts, ends=ends)
    return play(case=case, request=REQUEST, token="abc", host="127.0.0.1", port=port, timeout=timeout)


def says(*answers: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.recv(1)
        for answer in answers:
            connection.sendall(answer)

    return behave


@pytest.mark.parametrize(
    ("answers", "ending", "status", "wrong"),
    [
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"], "answered", 200, None),
        ([b"HTTP/1.1 200 OK\r\n\r\nab", b"c"], "answered", 200, None),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"], "answered", 200, None),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\nabc"], "answered", 200, None),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"], "answered", 200, "the body does not contain 'abc'"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], "answered", 204, "status 204 instead of 200"),
        (
            [b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 X\r\n\r\n"],
            "answered",
            400,
            "status 400 instead of 200",
        ),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"], "unreadable", None, None),
        ([b"<html>what?</html>"], "unreadable", None, None),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], "unreadable", None, None),
        ([b""], "closed", None, None),
    ],
)
def test_outcomes(serve, answers, ending, status, wrong) -> None:  # type: ignore[no-untyped-def]
    outcome = send(serve(says(*answers)))
    assert (outcome.ending, outcome.status, outcome.wrong) == (ending, status, wrong)
    assert outcome.answer == b"".join(answers)


def test_a_reset(serve) -> None:  # type: ignore[no-untyped-def]
    def behave(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    assert send(serve(behave)).ending == "reset"


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert send(port).ending == "refused"


def test_a_hang_is_told_after_the_timeout(serve) -> None:  # type: ignore[no-untyped-def]
    over = threading.Event()
    port = serve(lambda connection: over.wait(20) and None)
    begin = time.monotonic()
    assert send(port, timeout=0.5).ending == "hung"
    assert time.monotonic() - begin < 10
    over.set()


@pytest.mark.parametrize(("ends", "released"), [("now", True), ("late", True), ("never", False)])
def test_who_waits_for_the_end_of_the_stream(serve, ends, released) -> None:  # type: ignore[no-untyped-def]
    def behave(connection: socket.socket) -> None:
        while connection.recv(100):
            pass
        connection.sendall(b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n")

    outcome = send(serve(behave), ends=ends, timeout=1.0 if not released else 5.0)
    assert outcome.status == (400 if released else None)
    assert outcome.ending == ("answered" if released else "hung")


def test_an_answer_before_the_end_of_a_large_body(serve) -> None:  # type: ignore[no-untyped-def]
    outcome = send(serve(says(b"HTTP/1.1 413 X\r\nconnection: close\r\n\r\nno")), parts=((b"x", 1), (b" ", 50_000_000)))
    assert outcome.ending in ("answered", "reset"), "the kernel may throw the answer away with the unread bytes"


def test_all_bytes_arrive_in_order(serve) -> None:  # type: ignore[no-untyped-def]
    parts = ((b"head", 1), (b"ab", 100_001), (b"", 3), (b"tail", 1))
    whole = b"head" + b"ab" * 100_001 + b"tail"
    heard = bytearray()

    def behave(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            heard.extend(data)
        connection.sendall(b"HTTP/1.1 400 X\r\n\r\n")

    assert send(serve(behave), parts=parts, ends="now").status == 400
    assert bytes(heard) == whole
    assert Case(kind="x", parts=parts, ends="now").size == len(whole)
