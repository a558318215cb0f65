"""gRPC calls: every way to end has its phase and cause, a refusal is told from a loss, no call is made twice."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drainproof.load import ledger as ledgers
from drainproof.load.attempt import Attempt, attempt
from drainproof.load.driver import LoadEngine, LoadRun, Progress
from drainproof.load.ledger import Ledger, RequestRecord
from drainproof.load.plan import Closed, Expectation, Hold, Idle, Once, Plan, Request, Steady, Stream
from playing import soon
from raw_grpc_server import Call, RawServer

COUNT = 2


def call(name: str, message: str, *, method: str = "Echo", port: str = "grpc", **more: Any) -> Request:
    expect = more.pop("expect", Expectation(status=(0,), contains="{token}", messages=more.pop("messages", None)))
    return Request(
        name=name,
        method="gRPC",
        path=f"/test.Service/{method}",
        protocol="grpc",
        port=port,
        body=b64encode(message.encode()).decode(),
        expect=expect,
        **more,
    )


REQUESTS = (
    call("fast", "{token} 0"),
    call("slow", "{token} 0.6"),
    call("wrong", "{token} 0", expect=Expectation(status=(0,), contains="<{token}>")),
    call("busy", "{token}", method="Busy"),
    call("none", "{token}", method="Nothing"),
    call("count", "{token} 5 40", method="Count", stream=True, messages=5),
    call("long", "{token} 5 200", method="Count", stream=True, messages=5),
    call("less", "{token} 4 1", method="Count", stream=True, messages=5),
)


def plan_for(port: int, *streams: Stream, **more: Any) -> Plan:
    return Plan(host="127.0.0.1", port=1, ports={"grpc": port}, requests=REQUESTS, streams=streams, **more)


def outcomes(records: tuple[RequestRecord, ...], stream: str) -> set[tuple[Any, ...]]:
    return {(r.phase, r.cause, r.status, r.right) for r in records if r.stream == stream}


def ended(run: LoadRun, *, grace: float = 5.0) -> Ledger:
    """Stops the run and reads its ledger, which must reconcile, however busy the machine was."""
    run.stop(grace=grace)
    read = ledgers.read(run.ledger)
    assert [problem for problem in read.problems() if problem not in read.starvation()] == []
    return read


class Server:
    """The grpc.aio server in a process of its own."""

    def __init__(self, folder: Path, grace: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.file = folder / "tokens"
        script = Path(__file__).with_name("grpc_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(self.port), str(grace), str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == b"up\n"

    def tokens(self) -> list[str]:
        """The tokens of all calls that it began to work on."""
        return self.file.read_text().split()

    def end(self, number: int = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, grace=5.0)
    yield server
    server.end()


class TestAnswers:
    def test_are_judged_and_counted_exactly(self, engine: LoadEngine, server: Server, path: Path) -> None:
        streams = [Once(name=r.name, request=r.name, count=COUNT) for r in REQUESTS if r.name != "long"]
        with engine.run(plan=plan_for(server.port, *streams), ledger=path) as run:
            soon(run, lambda p: p.recorded == COUNT * len(streams))
            ledger = ended(run)
        records = ledger.requests
        assert outcomes(records, "fast") == outcomes(records, "slow") == {(None, None, 0, True)}
        assert outcomes(records, "wrong") == {(None, None, 0, False)}
        assert outcomes(records, "busy") == {(None, None, 14, False)}
        assert outcomes(records, "none") == {(None, None, 12, False)}
        assert {(r.messages, r.wrong) for r in records if r.stream == "count"} == {(5, None)}
        assert {(r.messages, r.wrong) for r in records if r.stream == "less"} == {(4, "4 messages instead of 5")}
        assert all("does not contain '<t" in (r.wrong or "") for r in records if r.stream == "wrong")
        assert {r.wrong for r in records if r.stream == "busy"} == {"status UNAVAILABLE instead of OK (busy)"}
        assert sorted(server.tokens()) == sorted(r.token for r in records if r.stream != "none")
        assert ledger.summary is not None and ledger.summary.locust_requests == len(records)

    def test_have_their_times_in_order(self, engine: LoadEngine, server: Server, path: Path) -> None:
        plan = plan_for(
            server.port, Once(name="slow", request="slow", count=3), Once(name="c", request="long", count=3)
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.recorded == 6)
            records = ended(run).requests
        for r in records:
            times = [r.due, r.connect_start, r.connected, r.send_start, r.sent, r.first_byte, r.end]
            assert None not in times and times == sorted(times)  # type: ignore[type-var]
            # From when the first byte left: the server may have begun before we noticed that the last one had.
            assert 0.6 <= r.end - r.send_start < 6.0  # type: ignore[operator]
            assert (r.end - r.first_byte > 0.5) == (r.stream == "c")  # type: ignore[operator]
            assert (r.protocol, r.reused, r.torn) == ("grpc", False, False) and r.port

    def test_no_call_is_made_twice(self, engine: LoadEngine, server: Server, path: Path) -> None:
        kinds = ("new", "reuse", "shared")
        streams = [Steady(name=kind, request="fast", rate=30, connections=kind) for kind in kinds]
        with engine.run(plan=plan_for(server.port, *streams), ledger=path) as run:
            soon(run, lambda p: all(s.right >= 20 for s in p.streams.values()))
            server.end(signal.SIGKILL)
            soon(run, lambda p: all(s.failed >= 5 for s in p.streams.values()))
            records = ended(run).requests
        seen = server.tokens()
        assert len(seen) == len(set(seen))
        assert {r.token for r in records if r.answered} <= set(seen) <= {r.token for r in records}
        ports = {kind: [r.port for r in records if r.stream == kind and r.right] for kind in kinds}
        assert len(set(ports["shared"])) == 1 < len(set(ports["new"])) == len(ports["new"])
        assert len(set(ports["reuse"])) < len(ports["reuse"])


class TestEnds:
    def load(self) -> tuple[Stream, ...]:
        return (
            Hold(name="held", request="slow", in_flight=3),
            Hold(name="shared", request="slow", in_flight=3, connections="shared"),
            Hold(name="long", request="long", in_flight=3),
            Steady(name="new", request="fast", rate=20, connections="new"),
        )

    def steady(self, p: Progress) -> bool:
        held = all(len(p.streams[name].in_flight_ports) == 3 for name in ("held", "shared", "long"))
        return held and p.streams["new"].right > 5

    def after(self, engine: LoadEngine, server: Server, path: Path, number: int) -> tuple[float, Ledger]:
        """Ends the server by a signal amid the load; the moment of that, and the ledger."""
        with engine.run(plan=plan_for(server.port, *self.load()), ledger=path) as run:
            soon(run, self.steady)
            time.sleep(0.3)  # the streams have begun to answer
            soon(run, self.steady)
            t = time.monotonic()
            server.end(number)
            seen = run.progress().streams["new"].failed
            soon(run, lambda p: p.streams["new"].failed > seen + 5)
            return t, ended(run)

    def test_a_graceful_stop_completes_them(self, engine: LoadEngine, server: Server, path: Path) -> None:
        t, ledger = self.after(engine, server, path, signal.SIGTERM)
        held = [r for r in ledger.requests if r.stream != "new" and r.sent is not None and r.sent < t < r.end]
        assert held and all(r.right for r in held)
        assert all(r.close_announced for r in held), "GOAWAY came before the connection's end"
        later = [r for r in ledger.requests if r.due > t + 0.3]
        assert later and {(r.phase, r.cause) for r in later} == {("connect", "refused")}

    def test_a_stop_without_grace_says_unavailable(self, engine: LoadEngine, server: Server, path: Path) -> None:
        t, ledger = self.after(engine, server, path, signal.SIGUSR1)
        held = [r for r in ledger.requests if r.stream != "new" and r.sent is not None and r.sent < t < r.end]
        assert {(r.cause, r.status, r.torn) for r in held} == {(None, 14, False)}, "said by the server, so no loss"

    def test_a_kill_is_a_loss(self, engine: LoadEngine, server: Server, path: Path) -> None:
        t, ledger = self.after(engine, server, path, signal.SIGKILL)
        held = [r for r in ledger.requests if r.stream != "new" and r.sent is not None and r.sent < t < r.end]
        assert {(r.phase, r.cause in ("eof", "reset")) for r in held} == {("waiting", True), ("body", True)}
        assert {r.phase for r in held if r.stream == "long"} == {"body"}
        assert all(r.status is None and r.acknowledged is not False for r in held)

    def test_an_idle_connection_is_followed_to_its_end(self, engine: LoadEngine, server: Server, path: Path) -> None:
        plan = plan_for(server.port, Idle(name="idle", request="fast", count=3))
        with engine.run(plan=plan, ledger=path) as run:
            open_ports = soon(run, lambda p: p.streams["idle"].open == 3).streams["idle"].open_ports
            t = time.monotonic()
            server.end(signal.SIGTERM)
            soon(run, lambda p: p.streams["idle"].open == 0)
            ledger = ended(run)
        assert {c.port for c in ledger.connections} == set(open_ports)
        assert all(c.ended_by == "eof" and c.opened < c.idle_since < t < c.end for c in ledger.connections)

    def test_what_is_in_flight_at_the_end_is_aborted(self, engine: LoadEngine, server: Server, path: Path) -> None:
        with engine.run(plan=plan_for(server.port, *self.load()), ledger=path) as run:
            soon(run, self.steady)
            ledger = ended(run, grace=0.0)
        aborted = [r for r in ledger.requests if r.cause == "aborted"]
        assert len(aborted) >= 3 and all(r.status is None for r in aborted)
        assert all(r.right for r in ledger.requests if r not in aborted)


def _torn(call: Call) -> None:
    call.begin()
    call.answer(call.content)
    call.say(0, b"\0\0\0\1\0half of a message")
    call.close()


def _half_a_stream(call: Call) -> None:
    call.begin()
    call.answer(call.content)


def _then(*steps: Any) -> Any:
    def way(call: Call) -> None:
        for step in steps:
            step(call)

    return way


REFUSED, INTERNAL = 7, 2

WAYS: dict[str, tuple[Any, tuple[str, str]]] = {
    "refused_stream": (lambda c: c.break_off(REFUSED), ("waiting", "stream_refused")),
    "goaway_before_it": (_then(lambda c: c.go_away(0), Call.close), ("waiting", "stream_refused")),
    "broken_off": (lambda c: c.break_off(INTERNAL), ("waiting", "stream_reset")),
    "broken_off_later": (_then(_half_a_stream, lambda c: c.break_off(INTERNAL)), ("body", "stream_reset")),
    "eof": (Call.close, ("waiting", "eof")),
    "goaway_then_eof": (_then(lambda c: c.go_away(c.stream), Call.close), ("waiting", "eof")),
    "reset": (Call.reset, ("waiting", "reset")),
    "eof_later": (_then(_half_a_stream, Call.close), ("body", "eof")),
    "torn": (_torn, ("body", "eof")),
    "hang": (lambda c: None, ("waiting", "timeout")),
    "hang_later": (_half_a_stream, ("body", "timeout")),
    "garbage": (lambda c: c.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" * 10), ("waiting", "protocol")),
}

STATUS: dict[str, tuple[Any, int]] = {
    "only_status": (lambda c: c.only_status(14), 14),
    "status_then_eof": (_then(lambda c: c.only_status(14), Call.close), 14),
    "complete_then_eof": (_then(_half_a_stream, Call.end, Call.close), 0),
    "complete_then_no_error": (_then(_half_a_stream, Call.end, lambda c: c.break_off(0)), 0),
}

FIRST: dict[str, tuple[Any, tuple[str, str]]] = {
    "no_first_word": (lambda s: time.sleep(3), ("send", "timeout")),
    "closed_at_once": (lambda s: s.shutdown(socket.SHUT_WR), ("send", "eof")),
}


@pytest.fixture(scope="module")
def ways(engine: LoadEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, dict[str, RawServer]]]:
    """All ways at once, each with a server and a stream of its own."""
    servers = {name: RawServer(way) for name, (way, _) in (WAYS | STATUS).items()}
    servers |= {name: RawServer(lambda c: None, first=first) for name, (first, _) in FIRST.items()}
    plan = Plan(
        host="127.0.0.1",
        port=1,
        ports={name: server.port for name, server in servers.items()},
        requests=tuple(call(name, "{token}", port=name) for name in servers),
        streams=tuple(Once(name=name, request=name, count=COUNT) for name in servers),
        deadline=1.5,
    )
    with engine.run(plan=plan, ledger=tmp_path_factory.mktemp("ways") / "ledger") as run:
        soon(run, lambda p: p.issued == p.recorded == COUNT * len(servers))
        yield ended(run), servers
    for server in servers.values():
        server.close()


class TestEveryWay:
    @pytest.mark.parametrize("way", WAYS | FIRST)
    def test_to_fail_has_its_phase_and_cause(self, ways: tuple[Ledger, dict[str, RawServer]], way: str) -> None:
        records = [r for r in ways[0].requests if r.stream == way]
        assert [(r.phase, r.cause) for r in records] == [(WAYS | FIRST)[way][1]] * COUNT
        assert all(r.torn == (way == "torn") and r.status is None and not r.right for r in records)
        if way in FIRST:
            assert all(r.send_start is None and r.connected is not None for r in records)

    @pytest.mark.parametrize("way", STATUS)
    def test_to_end_with_a_status_is_an_answer(self, ways: tuple[Ledger, dict[str, RawServer]], way: str) -> None:
        records = [r for r in ways[0].requests if r.stream == way]
        assert [(r.phase, r.cause, r.status) for r in records] == [(None, None, STATUS[way][1])] * COUNT
        assert all(r.right == (r.status == 0) for r in records)

    @pytest.mark.parametrize("way", WAYS | STATUS)
    def test_is_met_once_by_each_call(self, ways: tuple[Ledger, dict[str, RawServer]], way: str) -> None:
        ledger, servers = ways
        tokens = sorted(r.token for r in ledger.requests if r.stream == way)
        assert sorted(content.decode() for content in servers[way].calls) == tokens
        assert servers[way].connections == COUNT

    def test_nobody_listens(self, engine: LoadEngine, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with engine.run(plan=plan_for(port, Once(name="calls", request="fast", count=3)), ledger=path) as run:
            soon(run, lambda p: p.recorded == 3)
            assert outcomes(ended(run).requests, "calls") == {("connect", "refused", None, False)}


class TestSingleAttempts:
    def test_are_judged_alike(self, server: Server) -> None:
        requests = {r.name: r for r in REQUESTS}

        def tried(name: str, port: int) -> Attempt:
            return attempt(request=requests[name], host="127.0.0.1", port=port, token="t0", timeout=0.9)

        assert tried("fast", server.port).right and tried("count", server.port).right
        wrong = tried("wrong", server.port)
        assert (wrong.status, wrong.sent, wrong.wrong) == (0, True, "the message does not contain '<t0>'")
        busy = tried("busy", server.port)
        assert (busy.status, busy.sent, busy.text) == (14, True, "it was answered with UNAVAILABLE")
        late = tried("long", server.port)
        assert (late.status, late.sent, late.wrong) == (None, True, "no status within 0.9 s")
        server.end()
        gone = tried("fast", server.port)
        assert (gone.status, gone.sent, gone.wrong) == (None, False, "no connection for gRPC could be made")


class TestKeptConnections:
    def test_one_that_was_closed_is_replaced_without_a_loss(self, engine: LoadEngine, path: Path) -> None:
        server = RawServer(_then(_half_a_stream, Call.end, Call.close))
        plan = plan_for(server.port, Closed(name="users", request="fast", users=1, think_time=0.05))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 4)
            records = ended(run).requests
        server.close()
        assert all(r.right and not r.reused for r in records)
        assert server.connections == len(records) == len(server.calls)

    def test_goaway_takes_one_back(self, engine: LoadEngine, path: Path) -> None:
        server = RawServer(_then(_half_a_stream, lambda c: c.go_away(c.stream), Call.end))
        plan = plan_for(server.port, Closed(name="users", request="fast", users=1, think_time=0.02))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 4)
            records = ended(run).requests
        server.close()
        assert all(r.right and r.close_announced and not r.reused for r in records)

    def test_calls_share_one_and_its_loss(self, engine: LoadEngine, path: Path) -> None:
        def cut_at_the_third(call: Call) -> None:
            if call.stream >= 5:
                call.close()

        server = RawServer(cut_at_the_third)
        plan = plan_for(server.port, Once(name="calls", request="fast", count=3, connections="shared"))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.recorded == 3)
            records = ended(run).requests
        server.close()
        assert server.connections == 1 and len({r.port for r in records}) == 1
        assert sorted((r.sequence, r.cause) for r in records) == [(1, "eof"), (2, "eof"), (3, "eof")]

    def test_calls_that_wait_for_one_are_refused_with_it(self, engine: LoadEngine, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        plan = plan_for(port, Steady(name="calls", request="fast", rate=100, connections="shared"))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.recorded >= 50)
            records = ended(run).requests
        assert {(r.phase, r.cause, r.reused) for r in records} == {("connect", "refused", False)}
