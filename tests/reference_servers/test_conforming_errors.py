"""The conforming server with an exception in it, tried without the harness."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drainproof.probes.debris import find_debris

from tests.reference_servers.calls import begin, calling, infer, outcome
from tests.reference_servers.running import CONFORMING, Running

RAISING = Path(__file__).with_name("raising.py")


def raising(tmp: Path, place: str, error: str = "RuntimeError", *, workers: int = 1) -> Running:
    folder = tmp / "server"
    folder.mkdir()
    manifest = (CONFORMING / "drainproof.toml").read_text()
    (folder / "drainproof.toml").write_text(manifest.replace('"server.py"', f'"{RAISING}"'))
    return Running(folder, tmp=tmp, workers=workers, RAISES=f"{place} {error}")


def without_debris(server: Running) -> None:
    lines = [{"t": 0.0, "stream": "stdout", "text": line} for line in server.text().splitlines()]
    assert find_debris(lines) == []


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "CancelledError"])
def test_a_request_fails_alone(tmp_path: Path, error: str) -> None:
    with raising(tmp_path, "handler", error) as server, ThreadPoolExecutor(4) as pool:
        server.await_serving()
        others = [pool.submit(server.predict, token=f"token-{n}", ms=300) for n in range(4)]
        server.await_accepted(4)
        assert server.predict(token="raise")[0] == 500
        with calling(server) as channel:
            assert infer(channel, token="raise") == "INTERNAL"
            assert infer(channel, token="token") == "token"
        assert [one.result()[0] for one in others] == [200] * 4
        assert server.stop() == 0
        without_debris(server)


@pytest.mark.parametrize(
    ("place", "error", "workers"),
    [
        ("main", "RuntimeError", 1),
        ("main", "KeyboardInterrupt", 2),
        ("main", "CancelledError", 1),
        ("rest", "RuntimeError", 2),
        ("rest", "SystemExit", 1),
        ("grpc", "RuntimeError", 1),
    ],
)
def test_what_serving_depends_on_takes_the_server_down_in_order(
    tmp_path: Path, place: str, error: str, workers: int
) -> None:
    with raising(tmp_path, place, error, workers=workers) as server, ThreadPoolExecutor(4) as pool:
        server.await_serving()
        with calling(server) as channel:
            asked = [pool.submit(server.predict, token=f"token-{n}", ms=800) for n in range(4)]
            called = begin(channel, token="called", seconds=0.8)
            server.await_accepted(4)
            assert infer(channel, token="the server has read what came before") != ""
            server.ask("POST", "/_raise")
            assert [one.result()[0] for one in asked] == [200] * 4
            assert outcome(called, token="called") == "called"
            assert server.wait() == 1, server.text()
        server.await_gone()
        assert "raised by the test" in server.text() or error == "CancelledError"
        without_debris(server)


def test_what_nobody_waits_for_is_survived_and_logged(tmp_path: Path) -> None:
    with raising(tmp_path, "loop") as server:
        server.await_serving().ask("POST", "/_raise")
        while server.text().count("an error that nobody waits for") < 2:
            assert server.predict()[0] == 200
        assert server.stop() == 0
        without_debris(server)


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "CancelledError"])
def test_the_shutdown_is_begun_anew(tmp_path: Path, error: str) -> None:
    with raising(tmp_path, "stop", error) as server, ThreadPoolExecutor(1) as pool:
        server.await_serving()
        asked = pool.submit(server.predict, ms=800)
        server.await_accepted(1)
        began = time.monotonic()
        assert server.stop(signal.SIGTERM) == 1
        assert time.monotonic() - began < server.target.policy.grace_period
        assert asked.result()[0] == 200
        server.await_gone()
        without_debris(server)


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit"])
def test_a_model_that_raises_is_named(tmp_path: Path, error: str) -> None:
    with raising(tmp_path, "load", error, workers=2) as server:
        assert server.wait() == 1
        server.await_gone()
        assert f"cannot load the model: {error}('raised by the test')" in server.text()
