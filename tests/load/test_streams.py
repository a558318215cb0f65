"""What each kind of stream sends, and when."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from drainproof.load import ledger
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import WARM, Closed, Hold, Idle, Once, SlowReader, SlowWriter, Steady
from faulty_server import FaultyServer
from playing import asking, finished, in_time, plan_for, soon


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens, and accepts when the test does."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as sock:
        sock.settimeout(10)
        yield sock


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else can get."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield _port(sock)


class TestSchedule:
    def test_open_loop_keeps_its_schedule_through_a_stall_where_a_closed_loop_does_not(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        rate, users, stall = 100, 4, 1.0
        plan = plan_for(
            server.port,
            Steady(name="open", request="stall", rate=rate),
            Closed(name="closed", request="stall", users=users, think_time=users / rate),
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: all(s.right > 20 for s in p.streams.values()))
            server.gate.clear()
            begin = time.monotonic()
            time.sleep(stall)
            end = time.monotonic()
            server.gate.set()
            soon(run, lambda p: p.t > end + 0.3)
            read = finished(run)
        assert all(r.right for r in read.requests)
        within = {
            name: [r for r in read.requests if r.stream == name and begin < r.due < end] for name in ("open", "closed")
        }
        assert abs(len(within["open"]) - rate * (end - begin)) <= 2
        assert len(within["closed"]) <= users
        # The ones that the closed loop never sent are the ones that would have had to wait.
        assert sum(r.latency > stall / 2 for r in within["open"]) >= rate * stall * 0.4
        assert all(r.send_start is not None and r.send_start - r.due < 0.5 for r in within["open"])

    def test_open_loop_is_due_by_the_clock(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        start = time.monotonic() + 0.3
        plan = plan_for(server.port, Steady(name="open", request="ok", rate=100), start_at=start)
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.t > start + 0.3)
            read = finished(run)
        assert read.summary is not None and read.summary.started_at == start
        for number, record in enumerate(sorted(read.requests, key=lambda r: r.due)):
            assert record.due == pytest.approx(start + number / 100, abs=1e-6)
            assert record.connect_start is None or record.connect_start >= record.due
        # Everything that was due before the stop was sent, and nothing after it.
        assert len(read.requests) == int((read.summary.stopped_at - start) * 100) + 1

    def test_the_other_streams_begin_at_the_start_too(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        start = time.monotonic() + 0.4
        streams = (
            Hold(name="hold", request="hang", in_flight=1),
            Closed(name="closed", request="ok", users=1, think_time=0.01),
            Once(name="once", request="hang", count=1),
            SlowReader(name="reader", request="hang", count=1),
            SlowWriter(name="writer", request="hang", count=1),
            Idle(name="silent", request=None, count=1),
        )
        with engine.run(plan=plan_for(server.port, *streams, start_at=start), ledger=path) as run:
            soon(run, lambda p: p.streams["once"].in_flight == p.streams["silent"].open == 1)
            read = finished(run, grace=0)
        assert all(r.due >= start for r in read.requests)
        assert all(c.opened >= start for c in read.connections)

    def test_what_is_sent_once_waits_for_the_other_streams(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        plan = plan_for(
            server.port,
            Once(name="once", request="ok", count=2),
            Once(name="endless", request="hang", count=1),
            Steady(name="steady", request="ok", rate=10),
            requests=(replace(asking("hang"), duration=float("inf")),),
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["once"].right == 2)
            records = finished(run, grace=0.0).requests
        warm = sorted(r.end for r in records if r.stream == "steady")[WARM - 1]
        begun = {r.stream: r.connect_start for r in records if r.stream != "steady"}
        assert begun["endless"] < warm < begun["once"]

    def test_a_stop_before_the_start_issues_nothing(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        streams = (
            Steady(name="open", request="ok", rate=100),
            Hold(name="hold", request="ok", in_flight=3),
            Once(name="once", request="ok", count=3),
            Idle(name="idle", request="ok", count=3),
            SlowReader(name="reader", request="ok", count=1),
            SlowWriter(name="writer", request="ok", count=1),
        )
        with engine.run(plan=plan_for(server.port, *streams, start_at=time.monotonic() + 60), ledger=path) as run:
            soon(run, lambda p: p.state == "running")
            read = finished(run)
        assert read.requests == () and server.connections == 0


class TestHold:
    def test_keeps_its_number_in_flight_and_names_their_ports(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        server.gate.clear()
        with engine.run(plan=plan_for(server.port, Hold(name="h", request="stall", in_flight=8)), ledger=path) as run:
            ports = soon(run, lambda p: len(p.streams["h"].in_flight_ports) == 8).streams["h"].in_flight_ports
            assert len(set(ports)) == 8
            assert in_time(lambda: server.requests.total() == 8)
            server.gate.set()
            soon(run, lambda p: p.streams["h"].right >= 80)
            server.gate.clear()
            seen = soon(run, lambda p: len(p.streams["h"].in_flight_ports) == 8).streams["h"]
            assert set(seen.in_flight_ports) == set(ports)  # the same connections, kept
            assert seen.issued == seen.right + 8
            server.gate.set()
            assert all(r.right for r in finished(run).requests)

    def test_begins_staggered(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        hold = Hold(name="h", request="hang", in_flight=4, stagger=0.4)
        with engine.run(plan=plan_for(server.port, hold), ledger=path) as run:
            soon(run, lambda p: p.issued == 4)
            read = finished(run, grace=0)
        assert read.summary is not None
        for number, record in enumerate(read.requests):
            assert 0 <= record.due - read.summary.started_at - number * 0.1 < 2

    def test_does_not_hammer_a_dead_server(self, engine: LoadEngine, dead_port: int, path: Path) -> None:
        with engine.run(plan=plan_for(dead_port, Hold(name="h", request="ok", in_flight=20)), ledger=path) as run:
            begin = soon(run, lambda p: p.recorded >= 20).t
            soon(run, lambda p: p.t > begin + 0.7)
            read = finished(run)
        assert {(r.phase, r.cause) for r in read.requests} == {("connect", "refused")}
        assert read.summary is not None
        seconds = read.summary.stopped_at - read.summary.started_at
        assert 20 * 2 <= len(read.requests) <= 20 * (5 + seconds / 0.4)
        assert all(r.acknowledged is None and r.sent is None for r in read.requests)


class TestConnecting:
    def test_thousands_of_refusals_reconcile(self, engine: LoadEngine, dead_port: int, path: Path) -> None:
        with engine.run(plan=plan_for(dead_port, Once(name="o", request="ok", count=3000)), ledger=path) as run:
            soon(run, lambda p: p.recorded == 3000)
            assert all(r.cause == "refused" for r in finished(run).requests)

    def test_a_full_backlog_is_a_connect_timeout(self, engine: LoadEngine, path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as sock, contextlib.ExitStack() as stack:
            for _ in range(4):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(sock.getsockname())
            plan = plan_for(
                _port(sock),
                Once(name="o", request="ok", count=2),
                Idle(name="i", request=None, count=1),
                connect_timeout=0.3,
            )
            with engine.run(plan=plan, ledger=path) as run:
                soon(run, lambda p: p.recorded == 2)
                read = finished(run)
        assert [(r.phase, r.cause) for r in read.requests] == [("connect", "connect_timeout")] * 2
        assert all(0.29 < r.end - r.due < 3 for r in read.requests)
        assert [c.ended_by for c in read.connections] in (["failed"], ["engine"], [])

    def test_a_request_left_in_the_backlog_is_a_reset_after_it_was_acknowledged(
        self, engine: LoadEngine, listener: socket.socket, path: Path
    ) -> None:
        with engine.run(plan=plan_for(_port(listener), Once(name="o", request="ok", count=5)), ledger=path) as run:
            soon(run, lambda p: len(p.streams["o"].in_flight_ports) == 5)
            listener.close()
            soon(run, lambda p: p.recorded == 5)
            records = finished(run).requests
        assert [(r.phase, r.cause, r.acknowledged) for r in records] == [("waiting", "reset", True)] * 5

    def test_a_lack_of_descriptors_is_our_own_trouble(self, server: FaultyServer, path: Path) -> None:
        with LoadEngine() as engine:
            assert engine.pid is not None
            warm = engine.run(plan=plan_for(server.port), ledger=path.with_name("warm"))
            warm.stop(grace=0)
            resource.prlimit(engine.pid, resource.RLIMIT_NOFILE, (64, 64))
            with engine.run(plan=plan_for(server.port, Once(name="o", request="hang", count=100)), ledger=path) as run:
                soon(run, lambda p: p.streams["o"].aborted > 0)
                run.stop(grace=0)
        read = ledger.read(path)
        assert read.summary is not None and read.summary.starved > 0
        assert "short of" in read.problems()[0]
        starved = [r for r in read.requests if r.phase == "connect"]
        assert len(starved) == read.summary.starved
        assert all(r.cause == "aborted" and r.error is not None and "EMFILE" in r.error for r in starved)


class TestIdle:
    @pytest.mark.parametrize("how", ["eof", "reset", "data", "engine"])
    @pytest.mark.parametrize("request_first", [False, True])
    def test_the_end_is_recorded_in_its_moment(
        self, engine: LoadEngine, listener: socket.socket, path: Path, how: str, request_first: bool
    ) -> None:
        plan = plan_for(
            _port(listener),
            Idle(name="idle", request="ok" if request_first else None, count=1),
            requests=(asking("ok", contains=None),),
        )
        with engine.run(plan=plan, ledger=path) as run:
            sock, address = listener.accept()
            if request_first:
                sock.recv(65536)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            seen = soon(run, lambda p: p.streams["idle"].open == 1).streams["idle"]
            assert seen.open_ports == (address[1],)
            before = time.monotonic()
            if how == "data":
                sock.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            elif how != "engine":
                if how == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            if how != "engine":
                soon(run, lambda p: p.streams["idle"].open == 0)
            after = time.monotonic()
            read = finished(run)
            sock.close()
        (connection,) = read.connections
        assert (connection.ended_by, connection.port) == (how, address[1])
        assert connection.opened <= connection.idle_since < before < connection.end
        assert how == "engine" or connection.end < after
        assert len(read.requests) == request_first
        assert (connection.idle_since > connection.opened) == request_first

    def test_one_that_cannot_be_set_up_has_failed(self, engine: LoadEngine, dead_port: int, path: Path) -> None:
        streams = Idle(name="silent", request=None, count=2), Idle(name="asking", request="ok", count=2)
        with engine.run(plan=plan_for(dead_port, *streams), ledger=path) as run:
            soon(run, lambda p: p.streams["asking"].failed == 2)
            read = finished(run)
        assert [c.ended_by for c in read.connections] == ["failed"] * 4
        assert [(r.stream, r.cause) for r in read.requests] == [("asking", "refused")] * 2


class TestSlowWriter:
    def test_trickles_and_never_ends(self, engine: LoadEngine, listener: socket.socket, path: Path) -> None:
        request = asking("ok", method="POST", body="0123456789")
        plan = plan_for(
            _port(listener), SlowWriter(name="w", request="ok", count=1, interval=0.05), requests=(request,)
        )
        with engine.run(plan=plan, ledger=path) as run:
            sock, _ = listener.accept()
            received = b""
            while not received.endswith(b"012345678"):
                received += sock.recv(65536)
            end = time.monotonic()
            assert b"Content-Length: 10\r\n" in received
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):  # the last byte stays with the client
                sock.recv(1)
            (record,) = finished(run, grace=30).requests
            sock.close()
        assert (record.phase, record.cause, record.sent) == ("send", "aborted", None)
        assert record.send_start is not None and end - record.send_start >= 4 * 0.05
        assert record.bytes_sent == len(received)

    def test_is_answered_or_dropped_by_the_server(
        self, engine: LoadEngine, listener: socket.socket, path: Path
    ) -> None:
        plan = plan_for(_port(listener), SlowWriter(name="w", request="ok", count=2, interval=0.05))
        with engine.run(plan=plan, ledger=path) as run:
            sock, answered = listener.accept()
            other, _ = listener.accept()
            assert b"\r\n\r\n" not in sock.recv(65536)  # without a body, the head itself trickles
            sock.sendall(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            sock.close()
            other.close()
            soon(run, lambda p: p.recorded == 2)
            records = {r.port == answered[1]: r for r in finished(run).requests}
        assert (records[True].cause, records[True].status, records[True].right) == (None, 408, False)
        assert records[False].phase == "send" and records[False].cause in {"eof", "reset"}
        assert records[False].acknowledged is False


class TestSlowReader:
    def test_does_not_read_what_does_not_end(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        plan = plan_for(server.port, SlowReader(name="r", request="large", count=2))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: len(p.streams["r"].in_flight_ports) == 2)
            assert in_time(lambda: server.requests.total() == 2)
            read = finished(run, grace=30)
        assert [(r.phase, r.cause) for r in read.requests] == [("waiting", "aborted")] * 2
        assert [r.bytes_received for r in read.requests] == [0, 0]

    @pytest.mark.parametrize(
        ("way", "outcome"),
        [
            ("close_delimited", (None, None)),
            ("eof_in_body", ("body", "eof")),
            ("reset_in_body", ("body", "reset")),
            ("reset_before_head", ("waiting", "reset")),
        ],
    )
    def test_learns_what_was_sent_when_it_is_over(
        self, engine: LoadEngine, server: FaultyServer, path: Path, way: str, outcome: tuple[str | None, str | None]
    ) -> None:
        with engine.run(plan=plan_for(server.port, SlowReader(name="r", request=way, count=2)), ledger=path) as run:
            soon(run, lambda p: p.recorded == 2)
            records = finished(run).requests
        assert [(r.phase, r.cause) for r in records] == [outcome] * 2
        assert all(r.right == (outcome == (None, None)) for r in records)

    def test_is_cut_in_the_middle_of_a_large_answer(
        self, engine: LoadEngine, listener: socket.socket, path: Path
    ) -> None:
        plan = plan_for(_port(listener), SlowReader(name="r", request="ok", count=1))
        with engine.run(plan=plan, ledger=path) as run:
            sock, _ = listener.accept()
            sock.recv(65536)
            sock.settimeout(0.2)
            with pytest.raises(TimeoutError):  # it is stuck
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(100_000_000))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            before = time.monotonic()
            sock.close()
            soon(run, lambda p: p.recorded == 1)
            after = time.monotonic()
            (record,) = finished(run).requests
        assert (record.phase, record.cause) == ("body", "reset")
        assert before < record.end < after


def test_a_target_that_dies_under_all_streams_leaves_a_ledger_that_reconciles(engine: LoadEngine, path: Path) -> None:
    server = FaultyServer()
    server.gate.clear()
    streams = (
        Steady(name="steady", request="ok", rate=200),
        Steady(name="new", request="ok", rate=100, connections="new"),
        Hold(name="hold", request="stall", in_flight=50),
        Closed(name="closed", request="ok", users=5),
        Idle(name="idle", request="ok", count=20),
        Idle(name="silent", request=None, count=20),
        SlowReader(name="reader", request="large", count=5),
        SlowWriter(name="writer", request="ok", count=5, interval=0.02),
    )
    with engine.run(plan=plan_for(server.port, *streams), ledger=path) as run:
        soon(run, lambda p: p.streams["closed"].right > 50 and p.streams["idle"].open == 20)
        soon(run, lambda p: p.streams["hold"].in_flight == 50 and p.streams["silent"].open == 20)
        threading.Thread(target=server.close).start()
        soon(run, lambda p: p.streams["hold"].failed >= 100 and p.streams["silent"].open == 0)
        read = finished(run)
    assert {c.ended_by for c in read.connections} <= {"eof", "reset"}
    assert len(read.connections) == 40
    sent = {r.token for r in read.requests if r.sent is not None}
    assert set(server.requests) <= sent
    assert {r.token for r in read.requests if r.right} <= set(server.requests)
    assert server.requests.most_common(1)[0][1] == 1
