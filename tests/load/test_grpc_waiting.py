"""gRPC calls that wait for the target before they can leave: the waiting is the target's, and it is in the ledger."""

from __future__ import annotations

import socket
import struct
import threading
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

from drainproof.evidence.requests import judge_fate
from drainproof.load import ledger as ledgers
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Expectation, Hold, Once, Plan, Request, Steady, Stream
from playing import soon
from raw_grpc_server import SETTINGS, Call, RawServer, frame

MAX_CONCURRENT_STREAMS = 3
STALL = 1.2

REQUEST = Request(
    name="call",
    method="gRPC",
    path="/test.Service/Echo",
    protocol="grpc",
    port="grpc",
    body=b64encode(b"{token}").decode(),
    expect=Expectation(status=(0,), contains="{token}"),
)


class SlowServer(RawServer):
    """Says its first word late."""

    def _serve(self, sock: socket.socket) -> None:
        time.sleep(STALL)
        super()._serve(sock)


class NarrowServer(RawServer):
    """Allows one stream at a time."""

    def _serve(self, sock: socket.socket) -> None:
        sock.sendall(frame(SETTINGS, 0, 0, struct.pack("!HI", MAX_CONCURRENT_STREAMS, 1)))
        super()._serve(sock)


def answer(call: Call) -> None:
    call.begin()
    call.answer(call.content)
    call.end()


def plan_for(server: RawServer, *streams: Stream, **more: float) -> Plan:
    ports = {"grpc": server.port}
    return Plan(host="127.0.0.1", port=1, ports=ports, requests=(REQUEST,), streams=streams, **more)  # type: ignore[arg-type]


def test_a_late_first_word_is_the_target_s(engine: LoadEngine, path: Path) -> None:
    server = SlowServer(answer)
    plan = plan_for(server, Steady(name="calls", request="call", rate=20, connections="shared"))
    with engine.run(plan=plan, ledger=path) as run:
        soon(run, lambda p: p.streams["calls"].right > 20)
        run.stop(grace=5.0)
    server.close()
    ledger = ledgers.read(path)
    waited = [r for r in ledger.requests if r.send_start is not None and r.send_start - r.due > STALL / 2]
    assert len(waited) >= 5, "most of those that came in the first half of the stall"
    assert all(r.offered is not None and r.due <= r.offered <= (r.send_start or r.end) for r in ledger.requests)
    assert max(r.lag for r in waited) < STALL / 2 < max(r.latency for r in waited)


def test_a_call_that_never_leaves_can_hang(engine: LoadEngine, path: Path) -> None:
    hold = threading.Event()

    def never(call: Call) -> None:
        hold.wait(20)

    server = NarrowServer(never)
    plan = plan_for(server, Hold(name="held", request="call", in_flight=3, connections="shared"))
    with engine.run(plan=plan, ledger=path) as run:
        progress = soon(run, lambda p: p.streams["held"].in_flight == 3 and len(p.streams["held"].in_flight_ports) == 1)
        assert progress.streams["held"].in_flight == 3
        t = time.monotonic()
        run.stop(grace=0.3)
    hold.set()
    server.close()
    unsent = [r for r in ledgers.read(path).requests if r.send_start is None]
    assert unsent and all(r.cause == "aborted" and r.offered is not None and r.offered < t for r in unsent)
    assert all(judge_fate(replace(r, end=r.end + 10.0), duration=0.1, closings=[]) == "hung" for r in unsent)


def test_one_that_waits_on_a_kept_connection_times_out(engine: LoadEngine, path: Path) -> None:
    server = NarrowServer(lambda call: None)
    plan = plan_for(server, Once(name="calls", request="call", count=3, connections="shared"), deadline=0.7)
    with engine.run(plan=plan, ledger=path) as run:
        soon(run, lambda p: p.recorded == 3)
        run.stop(grace=1.0)
    server.close()
    records = ledgers.read(path).requests
    assert sorted((r.phase, r.cause) for r in records)[-1] == ("waiting", "timeout")
    assert {r.phase for r in records} <= {"waiting", "send"}, "the connection was there"
    assert all(judge_fate(r, duration=0.1, closings=[]) == "hung" for r in records)
