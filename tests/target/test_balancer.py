"""HAProxy as the harness starts it, in front of real listeners."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from drainproof.errors import HarnessError, Unsupported
from drainproof.load.plan import ANSWERED_BY
from drainproof.target import balancer as balancers
from drainproof.target.balancer import Balancer, Server, configuration
from drainproof.target.ports import reserve

try:
    HAPROXY: str | None = balancers.find()
except Unsupported:
    HAPROXY = None

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed (apt-get install haproxy)")


class Member:
    """A listener whose readiness can be switched."""

    def __init__(self) -> None:
        member = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if member.ready or self.path != "/ready" else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.ready = True
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = int(self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def members() -> Iterator[dict[str, Member]]:
    made = {"a": Member(), "b": Member()}
    yield made
    for member in made.values():
        member.close()


def start(members: dict[str, Member], folder: Path, *, port: int, sticky: bool = False) -> Balancer:
    return Balancer(
        port=port,
        servers=[Server(name=name, host="127.0.0.1", port=member.port) for name, member in members.items()],
        readiness="/ready",
        sticky=sticky,
        patience=20.0,
        folder=folder,
    )


def in_time(condition: Callable[[], object]) -> bool:
    until = time.monotonic() + 20.0
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@needs_haproxy
class TestRunning:
    def test_a_server_that_is_not_ready_gets_no_request(self, members: dict[str, Member], tmp_path: Path) -> None:
        with reserve(names=["balancer"]) as ports, start(members, tmp_path, port=ports["balancer"]) as balancer:
            assert balancer.wait_up(["a", "b"], until=time.monotonic() + 20.0)
            members["a"].ready = False
            assert in_time(lambda: not balancer.states()["a"].up)
            state = balancer.states()["a"]
            assert (state.check, balancer.states()["b"].up) == ("L7STS", True)
            answered = {urlopen(f"http://127.0.0.1:{balancer.port}/").headers[ANSWERED_BY] for _ in range(6)}
            assert answered == {"b"}
            assert not balancer.wait_up(["a"], until=time.monotonic())
            members["a"].ready = True
            assert balancer.wait_up(["a"], until=time.monotonic() + 20.0)

    def test_a_cookie_is_given_where_sessions_are_to_be_kept(self, members: dict[str, Member], tmp_path: Path) -> None:
        with reserve(names=["x"]) as ports, start(members, tmp_path, port=ports["x"], sticky=True) as balancer:
            balancer.wait_up(["a", "b"], until=time.monotonic() + 20.0)
            answer = urlopen(f"http://127.0.0.1:{balancer.port}/")
            server = answer.headers[ANSWERED_BY]
            assert answer.headers["Set-Cookie"].startswith(f"{balancers.COOKIE}={server}")

    def test_nothing_is_left(self, members: dict[str, Member], tmp_path: Path) -> None:
        with reserve(names=["x"]) as ports:
            with start(members, tmp_path, port=ports["x"]) as balancer:
                pid, tmp = balancer._process.pid, balancer._process.tmp
                assert (tmp / "admin.sock").exists()
            assert not psutil.pid_exists(pid) and not tmp.exists()
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", ports["x"]))

    def test_one_that_was_killed_is_our_failure(self, members: dict[str, Member], tmp_path: Path) -> None:
        with reserve(names=["x"]) as ports, start(members, tmp_path, port=ports["x"]) as balancer:
            psutil.Process(balancer._process.pid).kill()
            balancer._process.wait_exit(until=time.monotonic() + 10.0)
            with pytest.raises(HarnessError, match="haproxy ended in the middle of the experiment"):
                balancer.states()

    def test_one_that_cannot_start_says_why(self, members: dict[str, Member], tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match=r"(?s)haproxy ended at its start. It said:.*cannot bind"):
            start(members, tmp_path, port=members["a"].port)

    @pytest.mark.parametrize("readiness", ["/ready", "/v2/health/ready?full=1&x='y'", '/a b"c#d\\e$f'])
    @pytest.mark.parametrize("sticky", [False, True])
    def test_its_own_check_takes_the_configuration(self, tmp_path: Path, readiness: str, sticky: bool) -> None:
        assert HAPROXY is not None
        file = tmp_path / "x.cfg"
        file.write_text(
            configuration(
                host="127.0.0.1",
                port=20000,
                admin=tmp_path / "s",
                servers=[Server(name="a", host="127.0.0.1", port=20001)],
                readiness=readiness,
                sticky=sticky,
                patience=1.5,
            )
        )
        done = subprocess.run([HAPROXY, "-c", "-f", str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stderr


def test_what_is_not_installed_is_unsupported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(balancers, "ALSO_IN", (str(tmp_path),))
    with pytest.raises(Unsupported, match="apt-get install haproxy"):
        balancers.find()


def test_lost_requests_are_not_sent_again() -> None:
    """What has left may have been done: to repeat it would hide the losses that are looked for."""
    text = configuration(
        host="127.0.0.1", port=1, admin=Path("/s"), servers=(), readiness="/", sticky=False, patience=1.0
    )
    assert [line.strip() for line in text.splitlines() if "retry" in line] == ["retry-on conn-failure"]
    assert not {"on-marked-down", "observe"} & set(text.split())
