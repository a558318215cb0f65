"""What HTTP/2 says of a gRPC call in unusual ways: an answer is one only when its last frame is complete."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence.requests import Fate, judge_fate
from drainproof.load import ledger as ledgers
from drainproof.load.driver import LoadEngine
from drainproof.load.engine.frames import FrameReader
from drainproof.load.ledger import Ledger
from drainproof.load.plan import Closed, Expectation, Once, Plan, Request
from playing import soon
from raw_grpc_server import DATA, END_HEADERS, END_STREAM, HEADERS, Call, RawServer, frame, message, status

CONTINUATION, PADDED = 9, 8


def request(port: str) -> Request:
    return Request(
        name=port,
        method="gRPC",
        path="/test.Service/Echo",
        protocol="grpc",
        port=port,
        body=b64encode(b"{token}").decode(),
        expect=Expectation(status=(0,), contains="{token}"),
    )


def then(*steps: Callable[[Call], None]) -> Callable[[Call], None]:
    def way(call: Call) -> None:
        for step in steps:
            step(call)

    return way


def half(call: Call) -> None:
    call.say(DATA, b"\0\0\0\1\0half of a message")


def content(call: Call) -> None:
    call.answer(call.content)


def padded(call: Call) -> None:
    """Two pieces, each with padding, also one that is nothing but padding."""
    whole = message(call.content)
    for piece in (whole[:7], b"", whole[7:]):
        call.say(DATA, b"\x20" + piece + bytes(0x20), PADDED)


def open_block(call: Call) -> None:
    call.say(HEADERS, status(0), END_STREAM)


def closed_block(call: Call) -> None:
    call.say(CONTINUATION, b"", END_HEADERS)


ANSWERED = (None, None, 0, False, "right")

WAYS: dict[str, tuple[Any, tuple[str | None, str | None, int | None, bool, Fate]]] = {
    "torn_0": (then(Call.begin, content, half, lambda c: c.end(0)), (None, None, 0, True, "wrong")),
    "torn_14": (then(Call.begin, content, half, lambda c: c.end(14)), (None, None, 14, True, "wrong")),
    # The gRPC library takes no padding, and no client that is made of it does.
    "padded": (then(Call.begin, padded, Call.end), (None, None, 13, False, "wrong")),
    "continued": (then(Call.begin, content, open_block, closed_block), ANSWERED),
    "open_block": (then(Call.begin, content, open_block), ("body", "timeout", None, False, "hung")),
    "open_block_eof": (then(Call.begin, content, open_block, Call.close), ("body", "eof", None, False, "cut")),
    "goaway_then_status": (
        then(lambda c: c.go_away(0), lambda c: c.only_status(0)),
        ("waiting", "stream_refused", None, False, "refused"),
    ),
    "goaway_within": (
        then(Call.begin, content, lambda c: c.go_away(0), Call.close),
        ("body", "stream_refused", None, False, "cut"),
    ),
    "reset_then_status": (
        then(lambda c: c.break_off(8), lambda c: c.only_status(0)),
        ("waiting", "stream_reset", None, False, "dropped"),
    ),
    "goaway_eof": (
        then(lambda c: c.go_away(2**31 - 1), Call.close),
        ("waiting", "eof", None, False, "crossing"),
    ),
}


@pytest.fixture(scope="module")
def ledger(engine: LoadEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """All ways at once, each with a server and a stream of its own."""
    servers = {name: RawServer(way) for name, (way, _) in WAYS.items()}
    plan = Plan(
        host="127.0.0.1",
        port=1,
        ports={name: server.port for name, server in servers.items()},
        requests=tuple(request(name) for name in servers),
        streams=tuple(Once(name=name, request=name, count=1) for name in servers),
        deadline=1.5,
    )
    path = tmp_path_factory.mktemp("framing") / "ledger"
    with engine.run(plan=plan, ledger=path) as run:
        soon(run, lambda p: p.issued == p.recorded == len(servers))
        run.stop(grace=1.0)
    yield ledgers.read(path)
    for server in servers.values():
        server.close()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_has_its_end(ledger: Ledger, way: str) -> None:
    (r,) = (r for r in ledger.requests if r.stream == way)
    wanted = WAYS[way][1]
    fate = judge_fate(r, duration=0.0, closings=[])
    if wanted[-1] == "crossing" and r.end - (r.send_start or 0.0) > 0.25:
        fate = "crossing"  # the machine was too busy for a race
    assert (r.phase, r.cause, r.status, r.torn, fate) == wanted
    assert (r.wrong or "").startswith("it ended within a message") == r.torn
    assert r.right == (wanted == ANSWERED)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_padding_is_no_data_however_it_arrives(size: int) -> None:
    data = frame(DATA, PADDED, 1, b"\x03ab\0\0\0") + frame(DATA, PADDED | END_STREAM, 1, b"\x02\0\0")
    data += frame(DATA, PADDED, 3, b"\0cd") + frame(DATA, PADDED, 3, b"\0") + frame(DATA, 0, 3, b"e")
    reader = FrameReader()
    seen = [f for at in range(0, len(data), size) for f in reader.feed(data[at : at + size])]
    assert [b"".join(f.payload for f in seen if f.stream == stream) for stream in (1, 3)] == [b"ab", b"cde"]
    assert sum(f.complete for f in seen) == 5 and [f.stream for f in seen if f.ends_stream] == [1]


def test_a_call_that_crosses_a_goaway_was_turned_down(engine: LoadEngine, path: Path) -> None:
    """The library has not read the GOAWAY yet when it sends the call: the stream begins after the frame has passed."""
    excluded: set[str] = set()
    last: dict[Any, int] = {}

    def way(call: Call) -> None:
        if call.stream > last.get(call.sock, call.stream):
            excluded.add(call.content.decode())  # as HTTP/2 demands, it is ignored
            return
        call.begin()
        call.answer(call.content)
        call.end()
        if call.stream >= 21 and call.sock not in last:
            last[call.sock] = call.stream
            call.go_away(call.stream)
            threading.Timer(0.2, call.close).start()

    server = RawServer(way)
    plan = Plan(
        host="127.0.0.1",
        port=1,
        ports={"grpc": server.port},
        requests=(request("grpc"),),
        streams=(Closed(name="users", request="grpc", users=16, think_time=0.0, connections="shared"),),
        deadline=3.0,
    )
    with engine.run(plan=plan, ledger=path) as run:
        soon(run, lambda p: len(excluded) >= 200 or p.streams["users"].right > 3000, seconds=8.0)
        run.stop(grace=4.0)
    server.close()
    crossed = [r for r in ledgers.read(path).requests if r.token in excluded]
    assert crossed
    assert {(r.cause, r.close_announced) for r in crossed} == {("stream_refused", True)}
