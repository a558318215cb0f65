"""Every way to break an answer has its own phase and cause, and no request is ever sent twice."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from drainproof.evidence.requests import judge_fate
from drainproof.load.driver import LoadEngine
from drainproof.load.ledger import Ledger, RequestRecord
from drainproof.load.plan import Closed, Expectation, Once, Request
from faulty_server import WAYS, FaultyServer
from playing import asking, finished, plan_for, soon

COUNT = 3

LOST = {
    "eof_before_head": ("waiting", "eof"),
    "reset_before_head": ("waiting", "reset"),
    "eof_in_head": ("head", "eof"),
    "reset_in_head": ("head", "reset"),
    "eof_in_body": ("body", "eof"),
    "reset_in_body": ("body", "reset"),
    "reset_after_head": ("body", "reset"),
    "eof_in_chunk": ("body", "eof"),
    "reset_in_chunk": ("body", "reset"),
    "close_delimited_reset": ("body", "reset"),
    "busy_cut": ("body", "eof"),
    "continue_then_eof": ("waiting", "eof"),
    "hang": ("waiting", "timeout"),
    "hang_in_head": ("head", "timeout"),
    "hang_in_body": ("body", "timeout"),
    "garbage": ("head", "protocol"),
    "bad_chunk": ("body", "protocol"),
    "upgrade": ("head", "protocol"),
}

# The status, what was wrong, and whether the answer said that the connection would be closed
ANSWERED = {
    "ok": (200, None, False),
    "chunked": (200, None, False),
    "close_delimited": (200, None, True),
    "http_1_0": (200, None, True),
    "close_announced": (200, None, True),
    "continue": (200, None, False),
    "early_hints": (200, None, False),
    "no_content": (204, None, False),
    "not_modified": (304, None, False),
    "head": (200, None, False),
    "head_without_length": (200, None, False),
    "busy": (503, "status 503 instead of 200", True),
    "wrong_token": (200, "the body does not contain", False),
    "empty": (200, "the body does not contain", False),
    "more_than_asked": (200, None, False),
    "large": (200, "only the first 1048576 of its 3000000 bytes were looked at", False),
    "too_large": (413, "status 413 instead of 200", True),
    "idle_eof": (200, None, False),
    "idle_reset": (200, None, False),
    "idle_data": (200, None, False),
}

REQUESTS = (
    asking("head", method="HEAD", contains=None),
    asking("head_without_length", method="HEAD", contains=None),
    asking("no_content", status=(204,), contains=None),
    asking("not_modified", status=(304,), contains=None),
    asking("too_large", method="POST", body="x" * 8_000_000),
)


@pytest.fixture(scope="module")
def played(engine: LoadEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, FaultyServer, Path]]:
    """All ways at once, each in a stream of its own."""
    server = FaultyServer()
    streams = [Once(name=way, request=way, count=COUNT, connections="reuse") for way in LOST | ANSWERED]
    plan = plan_for(server.port, *streams, requests=REQUESTS, deadline=1.5)
    path = tmp_path_factory.mktemp("ways") / "ledger"
    with engine.run(plan=plan, ledger=path) as run:
        soon(run, lambda p: p.issued == p.recorded == COUNT * len(streams))
        yield finished(run), server, path
    server.close()


class TestEveryWay:
    @pytest.mark.parametrize("way", LOST)
    def test_a_loss_is_recorded_with_its_phase_and_cause(
        self, played: tuple[Ledger, FaultyServer, Path], way: str
    ) -> None:
        records = [r for r in played[0].requests if r.stream == way]
        assert [(r.phase, r.cause, r.right) for r in records] == [(*LOST[way], False)] * COUNT
        for record in records:
            assert record.sent is not None
            assert (record.first_byte is None) == (record.phase == "waiting")
            assert record.due <= record.connect_start <= record.connected <= record.send_start <= record.sent  # type: ignore[operator]
            assert record.sent < record.end
            assert record.acknowledged in ({True, None} if record.cause == "reset" else {True})

    @pytest.mark.parametrize("way", ANSWERED)
    def test_an_answer_is_complete_and_judged(self, played: tuple[Ledger, FaultyServer, Path], way: str) -> None:
        status, wrong, closing = ANSWERED[way]
        records = [r for r in played[0].requests if r.stream == way]
        assert len(records) == COUNT
        for record in records:
            assert (record.phase, record.cause, record.status) == (None, None, status), record
            assert record.right == (wrong is None)
            assert (record.wrong is None) == (wrong is None) and (wrong or "") in (record.wrong or "")
            assert record.close_announced == closing
            assert record.first_byte is not None and record.first_byte <= record.end

    def test_no_request_was_sent_twice(self, played: tuple[Ledger, FaultyServer, Path]) -> None:
        records, server = played[0].requests, played[1]
        assert server.requests == {r.token: 1 for r in records}
        assert {r.stream for r in records} == set(WAYS) - {"second_eof", "second_reset", "second_unread", "stall"}

    def test_locust_counted_every_request(self, played: tuple[Ledger, FaultyServer, Path]) -> None:
        summary = played[0].summary
        assert summary is not None
        assert summary.locust_requests == summary.issued == COUNT * len(LOST | ANSWERED)

    def test_every_line_of_the_ledger_has_every_field(self, played: tuple[Ledger, FaultyServer, Path]) -> None:
        lines = [json.loads(line) for line in played[2].read_text().splitlines()]
        names = {f.name for f in fields(RequestRecord)} | {"record"}
        assert all(set(line) == names for line in lines if line["record"] == "request")
        assert lines[-1]["record"] == "summary"


class TestKeptConnections:
    def test_are_used_again_one_after_the_other(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        plan = plan_for(server.port, Closed(name="users", request="ok", users=2))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 100)
            records = finished(run).requests
        assert server.connections == 2
        for port in {r.port for r in records}:
            mine = sorted((r for r in records if r.port == port), key=lambda r: r.id)
            assert [r.sequence for r in mine] == list(range(1, len(mine) + 1))
            assert [r.reused for r in mine] == [False] + [True] * (len(mine) - 1)
            assert all((r.connected is None) == r.reused for r in mine)

    @pytest.mark.parametrize("way", ["head", "head_without_length", "no_content", "not_modified", "chunked"])
    def test_survive_answers_without_an_ordinary_body(
        self, engine: LoadEngine, server: FaultyServer, path: Path, way: str
    ) -> None:
        plan = plan_for(server.port, Closed(name="users", request=way, users=1), requests=REQUESTS)
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 10)
            finished(run)
        assert server.connections == 1

    @pytest.mark.parametrize(("way", "cause"), [("second_eof", "eof"), ("second_reset", "reset")])
    def test_a_loss_on_one_is_a_loss(
        self, engine: LoadEngine, server: FaultyServer, path: Path, way: str, cause: str
    ) -> None:
        plan = plan_for(server.port, Closed(name="users", request=way, users=1))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].failed >= 3)
            records = finished(run).requests
        for record in records:
            outcome = (record.right, record.phase, record.cause)
            assert outcome == ((True, None, None) if record.sequence == 1 else (False, "waiting", cause))
            assert record.sequence == 1 or judge_fate(record, duration=0.02, closings=()) == (
                "dropped" if cause == "eof" else "crossing"
            )
        assert server.requests == {r.token: 1 for r in records}

    def test_a_request_that_was_not_read_crossed_the_closing(
        self, engine: LoadEngine, server: FaultyServer, path: Path
    ) -> None:
        """The target's kernel acknowledges it, and an EOF comes first; that it was not read is told by a late reset."""
        plan = plan_for(server.port, Closed(name="users", request="second_unread", users=1))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].failed >= 3)
            lost = [r for r in finished(run).requests if r.sequence == 2 and r.cause != "aborted"]
        assert lost and {(r.phase, r.cause, r.error) for r in lost} == {("waiting", "reset", "after an EOF")}
        assert {judge_fate(r, duration=0.02, closings=()) for r in lost} == {"crossing"}
        assert all(r.acknowledged is not False for r in lost)

    @pytest.mark.parametrize("way", ["idle_eof", "idle_reset", "idle_data", "close_announced", "more_than_asked"])
    def test_one_that_the_server_closed_is_replaced_without_a_loss(
        self, engine: LoadEngine, server: FaultyServer, path: Path, way: str
    ) -> None:
        plan = plan_for(server.port, Closed(name="users", request=way, users=1, think_time=0.05))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 4)
            records = finished(run).requests
        assert all(r.right and not r.reused for r in records)
        assert server.connections == len(records)

    def test_new_connections_are_not_kept(self, engine: LoadEngine, server: FaultyServer, path: Path) -> None:
        plan = plan_for(server.port, Closed(name="users", request="ok", users=1, connections="new"))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.streams["users"].right >= 10)
            records = finished(run).requests
        assert server.connections == len(records)


class TestRequests:
    def test_the_token_is_filled_in_everywhere(self, engine: LoadEngine, path: Path, echo_port: int) -> None:
        request = Request(
            name="echo",
            method="POST",
            path="/ä/{token} x",
            headers={"X-Token": "<{token}>", "Host": "example.org"},
            body='{"a": ["{token}", 1], "ü": true}',
            expect=Expectation(
                json={
                    "line": "POST /%C3%A4/{token}%20x HTTP/1.1",
                    "headers": {"x-token": "<{token}>", "host": "example.org"},
                    "body": {"a": ["{token}", 1], "ü": True},
                }
            ),
        )
        plan = plan_for(echo_port, Once(name="echo", request="echo", count=2), requests=(request,))
        with engine.run(plan=plan, ledger=path) as run:
            soon(run, lambda p: p.recorded == 2)
            assert [(r.right, r.wrong) for r in finished(run).requests] == [(True, None)] * 2

    @pytest.fixture
    def echo_port(self) -> Iterator[int]:
        """A server that answers with what it was sent, as JSON."""

        class Echo(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = json.dumps({"line": self.requestline, "headers": headers, "body": body, "more": 1}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()
        server.server_close()
