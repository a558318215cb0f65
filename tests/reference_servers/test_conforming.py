"""The conforming server, tried by hand: whether it is what the harness takes it for must not depend on the harness."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.reference_servers.running import CONFORMING, PATIENCE, Running

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]


def eventually(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)  # between two looks


def conforming(tmp: Path, *, workers: int = 1, port: int = 0, **environment: str) -> Running:
    return Running(CONFORMING, tmp=tmp, workers=workers, port=port, **environment)


class TestStop:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_everything_in_flight_is_answered(self, tmp_path: Path, workers: int) -> None:
        with conforming(tmp_path, workers=workers) as server, ThreadPoolExecutor(16) as pool:
            server.await_serving()
            asked = [pool.submit(server.predict, token=f"token-{n}", ms=800) for n in range(16)]
            server.await_accepted(16)
            server.send(signal.SIGTERM)
            time.sleep(0.05)  # the second one is to meet a server that drains
            server.send(signal.SIGTERM)
            answers = [one.result() for one in asked]
            assert [(status, value["token"]) for status, value, _ in answers] == [
                (200, f"token-{n}") for n in range(16)
            ]
            assert {headers["connection"] for _, _, headers in answers} == {"close"}
            assert server.wait() == 0, server.text()
            server.await_gone()
            assert list(tmp_path.iterdir()) == [server.output]

    def test_it_turns_unready_but_lives_and_serves_on_for_a_while(self, tmp_path: Path) -> None:
        with conforming(tmp_path) as server, ThreadPoolExecutor(1) as pool:
            server.await_serving()
            last = pool.submit(server.predict, ms=800)
            server.await_accepted(1)
            server.send(signal.SIGTERM)
            while server.ask("GET", "/ready")[0] == 200:
                pass
            assert server.ask("GET", "/live")[0] == 200
            status, _, headers = server.predict(ms=1)
            assert (status, headers["connection"]) == (200, "close")
            assert last.result()[0] == 200

    def test_an_idle_connection_serves_again_and_is_told_to_close(self, tmp_path: Path) -> None:
        with conforming(tmp_path) as server:
            server.await_serving()
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)

            def connection_header() -> str | None:
                connection.request("GET", "/live")
                response = connection.getresponse()
                response.read()
                return response.headers["connection"]

            assert connection_header() is None
            server.send(signal.SIGTERM)
            while connection_header() is None:
                pass
            assert server.wait() == 0

    def test_what_never_ends_is_cut_at_the_bound(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server:
            server.await_serving()
            clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
            endless, writer, reader, silent = clients
            head = "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}"
            large = json.dumps({"token": "x", "bytes": 8_000_000})
            endless.sendall(head.format("/endless", 0, "").encode())
            writer.sendall(head.format("/predict", 10, "{").encode())
            reader.sendall(head.format("/predict", len(large), large).encode())
            server.await_accepted(4)
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < server.target.policy.grace_period
            assert endless.recv(100).startswith(b"HTTP/1.1 503")
            assert writer.recv(100).startswith(b"HTTP/1.1 503")
            assert silent.recv(100) == b""
            for client in clients:
                client.close()

    def test_every_stop_signal_drains(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            servers = {signum: stack.enter_context(conforming(tmp_path)) for signum in STOP_SIGNALS}
            for signum, server in servers.items():
                server.await_serving().send(signum)
            for signum, server in servers.items():
                assert server.wait() == 0
                assert f"draining ({signum.name})" in server.text()


class TestFailure:
    def test_of_the_model_while_it_serves(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server:
            server.await_serving()
            assert server.ask("POST", "/_fatal")[0] == 500
            assert server.wait() == 1
            server.await_gone()
            assert "the device fell off the bus" in server.text()

    def test_of_the_model_to_load(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2, MODEL_PATH="/nonexistent/model.json") as server:
            assert server.wait() == 1
            server.await_gone()
            assert "cannot load the model from /nonexistent/model.json" in server.text()
            assert "Traceback" not in server.text()

    def test_to_get_its_port(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with conforming(tmp_path, port=port) as server:
                assert server.wait() == 1
                assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in server.text()

    def test_of_a_client_is_answered_400(self, tmp_path: Path) -> None:
        with conforming(tmp_path) as server:
            server.await_serving()
            for body in ("nonsense", [], {"ms": 1}, {"token": "x", "ms": "long"}):
                assert server.ask("POST", "/predict", body)[0] == 400
            assert server.ask("GET", "/nowhere")[0] == 404
            assert server.predict()[0] == 200


class TestWorkers:
    def test_both_serve_and_the_supervisor_lets_go_of_the_listener_first(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server, ThreadPoolExecutor(1) as pool:
            server.await_serving()
            pids = {server.predict()[1]["pid"] for _ in range(50)}
            assert len(pids) == 2 and server.process.pid not in pids
            supervisor = psutil.Process(server.process.pid)
            slow = pool.submit(server.predict, ms=1500)
            server.await_accepted(1)
            server.process.send_signal(signal.SIGTERM)
            # Kept open for longer, the listener would go on completing connections that nobody accepts.
            eventually(lambda: not any(c.status == "LISTEN" for c in supervisor.net_connections("tcp4")))
            assert slow.result()[0] == 200
            assert server.wait() == 0

    def test_none_outlives_a_supervisor_that_is_killed(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server:
            server.await_serving()
            server.stop(signal.SIGKILL)
            server.await_gone()

    def test_one_that_is_killed_is_replaced(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server:
            server.await_serving()
            before = {process.pid for process in server.tree()}
            next(process for process in server.tree() if process.pid != server.process.pid).kill()
            eventually(lambda: len({process.pid for process in server.tree()} - before) == 1)
            (new,) = {process.pid for process in server.tree()} - before
            eventually(lambda: server.predict()[1]["pid"] == new)
            assert server.stop() == 0

    def test_without_any_it_answers_503_and_gives_up(self, tmp_path: Path) -> None:
        with conforming(tmp_path, workers=2) as server:
            server.await_serving()
            seen = {server.process.pid}
            answers = set()
            while server.process.poll() is None:
                for process in server.tree():
                    if process.pid not in seen:
                        process.kill()
                with contextlib.suppress(OSError, http.client.HTTPException):  # its last moments
                    answers.add(server.ask("POST", "/predict", {"token": "x"})[0])
            assert server.wait() == 1
            assert 503 in answers
            assert "the last of 4 attempts" in server.text()
