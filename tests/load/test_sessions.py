"""Sessions: clients that keep their cookies, and what a load balancer says of who has answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
from drainproof.errors import UserError
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import ANSWERED_BY, Closed, Expectation, Plan, Request
from playing import finished, soon

VISITORS = count(1)


class Greeter(BaseHTTPRequestHandler):
    """Gives every visitor without a cookie a new number; `/forget` takes it back."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = SimpleCookie(self.headers.get("Cookie", "")).get("visitor")
        name = known.value if known is not None else str(next(VISITORS))
        self.send_response(200)
        self.send_header(ANSWERED_BY, f"server-{name}")
        if self.path.startswith("/forget"):
            self.send_header("Set-Cookie", "visitor=; Max-Age=0; Path=/")
        elif known is None:
            self.send_header("Set-Cookie", f"visitor={name}; Path=/")
            self.send_header("Set-Cookie", "elsewhere=1; Path=/another/place")
        body = f"{self.path} {self.headers.get('Cookie', '')}".encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Greeter)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def plan(port: int, *, sessions: bool, path: str = "/ask?{token}") -> Plan:
    request = Request(name="ask", method="GET", path=path, expect=Expectation(contains="{token}"))
    stream = Closed(name="users", request="ask", users=3, think_time=0.01, sessions=sessions)
    return Plan(host="127.0.0.1", port=port, requests=(request,), streams=(stream,))


def test_each_session_is_one_client_that_sends_its_cookies_back(engine: LoadEngine, port: int, path: Path) -> None:
    with engine.run(plan=plan(port, sessions=True), ledger=path) as run:
        soon(run, lambda p: p.streams["users"].right >= 30)
        ledger = finished(run)
    by_session: dict[int, set[str]] = {}
    for record in ledger.requests:
        if record.right:
            by_session.setdefault(record.session, set()).add(record.answered_by)
    assert set(by_session) == {0, 1, 2}
    assert all(len(servers) == 1 for servers in by_session.values()), "a visitor was not known again"
    assert len(set.union(*by_session.values())) == 3, "two sessions shared a cookie"


def test_a_cookie_that_is_taken_back_is_not_sent_again(engine: LoadEngine, port: int, path: Path) -> None:
    with engine.run(plan=plan(port, sessions=True, path="/forget?{token}"), ledger=path) as run:
        soon(run, lambda p: p.streams["users"].right >= 9)
        ledger = finished(run)
    right = [record.answered_by for record in ledger.requests if record.right]
    assert len(right) == len(set(right)), "a visitor without a cookie is a new one"


def test_ordinary_clients_have_no_cookies(engine: LoadEngine, port: int, path: Path) -> None:
    with engine.run(plan=plan(port, sessions=False), ledger=path) as run:
        soon(run, lambda p: p.streams["users"].right >= 9)
        ledger = finished(run)
    right = [record for record in ledger.requests if record.right]
    assert {record.session for record in right} == {None}
    assert len({record.answered_by for record in right}) == len(right)


def test_the_cookie_of_another_path_is_kept_back() -> None:
    from drainproof.load.engine.cookies import Cookies

    cookies = Cookies(host="127.0.0.1", port=80)
    cookies.take("/ask", [b"a=1; Path=/", b"b=2; Path=/another/place", b"c=3"])
    assert set(cookies.header("/ask").split("; ")) == {"a=1", "c=3"}
    assert set(cookies.header("/another/place").split("; ")) == {"a=1", "b=2", "c=3"}


def test_sessions_are_refused_for_grpc() -> None:
    request = Request(name="ask", method="gRPC", path="/a.B/C", protocol="grpc")
    with pytest.raises(UserError, match="sessions have cookies, 'ask' is a gRPC request"):
        Plan(
            host="127.0.0.1",
            port=1,
            requests=(request,),
            streams=(Closed(name="users", request="ask", users=1, sessions=True),),
        )
