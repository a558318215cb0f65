"""The endpoint leaves its service: open connections go on, new ones go elsewhere, and nothing of that is a failure."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.errors import HarnessError
from drainproof.evidence.requests import judge_fate
from drainproof.load.driver import LoadEngine, LoadRun
from drainproof.load.ledger import Ledger
from drainproof.load.plan import Closed, Hold, Once, Steady
from faulty_server import FaultyServer
from playing import finished, plan_for, soon
from test_grpc_calls import Server
from test_grpc_calls import ended as ended_rpc
from test_grpc_calls import plan_for as rpc_plan


@pytest.fixture
def rpc_server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, grace=5.0)
    yield server
    server.end()


def of(read: Ledger, stream: str) -> list[str | None]:
    return [r.cause for r in read.requests if r.stream == stream]


def elsewhere(run: LoadRun, stream: str, count: int) -> None:
    soon(run, lambda p: p.streams[stream].routed_elsewhere >= count)


def assert_no_connection_was_begun_later(read: Ledger, moment: float) -> None:
    assert read.summary is not None
    assert read.summary.unrouted_at == moment
    assert read.summary.routed_elsewhere == sum(r.cause == "routed_elsewhere" for r in read.requests)
    assert all(r.connect_start is None or r.connect_start <= moment for r in read.requests)
    for record in read.requests:
        if record.cause == "routed_elsewhere":
            assert (record.connect_start, record.sent, record.port, record.reused) == (None, None, None, False)
            assert judge_fate(record, duration=0.0, closings=()) == "elsewhere"


class TestHttp:
    def test_new_connections_go_elsewhere_and_kept_ones_go_on(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        plan = plan_for(
            server.port,
            Steady(name="new", request="ok", rate=50, connections="new"),
            Closed(name="kept", request="ok", users=2, think_time=0.01),
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["new"].right >= 5 and p.streams["kept"].right >= 5)
            moment = run.unroute()
            elsewhere(run, "new", 10)
            before = run.progress().streams["kept"].right
            soon(run, lambda p: p.streams["kept"].right >= before + 10)
            assert run.unroute() == moment
            read = finished(run)
        assert_no_connection_was_begun_later(read, moment)
        assert set(of(read, "new")) == {None, "routed_elsewhere"}
        assert set(of(read, "kept")) == {None}
        assert set(server.requests) == {r.token for r in read.requests if r.answered}
        assert read.summary is not None
        assert read.summary.locust_requests == server.requests.total()

    def test_a_request_in_flight_on_a_new_connection_is_left_alone(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        server.gate.clear()
        with engine.run(plan=plan_for(server.port, Once(name="o", request="stall", count=3)), ledger=path) as run:
            soon(run, lambda p: len(p.streams["o"].in_flight_ports) == 3)
            run.unroute()
            server.gate.set()
            soon(run, lambda p: p.streams["o"].right == 3)
            finished(run)

    @pytest.mark.parametrize("way", ["close_announced", "idle_eof", "idle_reset"])
    def test_a_client_whose_kept_connection_the_server_closes_goes_elsewhere(
        self, engine: LoadEngine, server: FaultyServer, path: Path, way: str
    ) -> None:
        plan = plan_for(server.port, Closed(name="kept", request=way, users=2, think_time=0.05))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["kept"].right >= 4)
            moment = run.unroute()
            elsewhere(run, "kept", 4)
            seen = run.progress().streams["kept"]
            assert seen.issued == seen.right + seen.routed_elsewhere + seen.in_flight
            read = finished(run)
        assert_no_connection_was_begun_later(read, moment)
        assert set(of(read, "kept")) == {None, "routed_elsewhere"}

    def test_a_lost_request_is_still_a_failure(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        server.gate.clear()
        plan = plan_for(
            server.port, Once(name="o", request="stall", count=2), Hold(name="h", request="ok", in_flight=1)
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: len(p.streams["o"].in_flight_ports) == 2)
            run.unroute()
            server.close_connections()
            soon(run, lambda p: p.streams["o"].failed == 2)
            read = finished(run)
        assert None not in of(read, "o")
        assert "routed_elsewhere" not in of(read, "o")

    def test_after_the_end_there_is_no_route_to_close(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        with engine.run(plan=plan_for(server.port, Once(name="o", request="ok", count=1)), ledger=path) as run:
            soon(run, lambda p: p.recorded == 1)
            run.stop(grace=0)
            with pytest.raises(HarnessError, match="the load had ended before"):
                run.unroute()


class TestRpc:
    def test_new_connections_go_elsewhere_and_kept_ones_go_on(
        self, engine: LoadEngine, rpc_server: Server, path: Path
    ) -> None:
        plan = rpc_plan(
            rpc_server.port,
            Steady(name="new", request="fast", rate=20, connections="new"),
            Closed(name="kept", request="fast", users=2, think_time=0.02),
            Steady(name="shared", request="fast", rate=20, connections="shared"),
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: all(s.right >= 5 for s in p.streams.values()))
            moment = run.unroute()
            elsewhere(run, "new", 10)
            before = run.progress()
            soon(run, lambda p: all(p.streams[n].right >= before.streams[n].right + 5 for n in ("kept", "shared")))
            read = ended_rpc(run)
        assert_no_connection_was_begun_later(read, moment)
        assert set(of(read, "new")) == {None, "routed_elsewhere"}
        assert set(of(read, "kept")) == set(of(read, "shared")) == {None}
        assert sorted(rpc_server.tokens()) == sorted(r.token for r in read.requests if r.answered)

    def test_clients_that_are_told_to_go_go_elsewhere(self, engine: LoadEngine, rpc_server: Server, path: Path) -> None:
        plan = rpc_plan(
            rpc_server.port,
            Closed(name="kept", request="fast", users=2, think_time=0.02),
            Steady(name="shared", request="fast", rate=20, connections="shared"),
        )
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: all(s.right >= 5 for s in p.streams.values()))
            moment = run.unroute()
            rpc_server.end(15)  # GOAWAY, and the end when the last call is over
            elsewhere(run, "kept", 4)
            elsewhere(run, "shared", 4)
            read = ended_rpc(run)
        assert_no_connection_was_begun_later(read, moment)
        assert "refused" not in {r.cause for r in read.requests}

    def test_a_connection_that_had_not_been_begun_is_not_begun(self, engine: LoadEngine, path: Path) -> None:
        """The gRPC library is told to connect first, and connects later: what counts is the packet to the target."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            plan = rpc_plan(listener.getsockname()[1], Once(name="o", request="fast", count=50, connections="new"))
            with engine.run(plan=plan, ledger=path) as run:
                soon(run, lambda p: p.issued >= 1)
                moment = run.unroute()
                soon(run, lambda p: p.state == "running" and p.issued == 50)
                read = ended_rpc(run, grace=0)
        assert_no_connection_was_begun_later(read, moment)
        assert set(of(read, "o")) <= {"aborted", "routed_elsewhere"}
