"""The conforming server with an exception in it, tried without the harness."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from drainproof.probes.debris import find_debris

from tests.reference_servers.calls import begin, calling, infer, outcome
from tests.reference_servers.running import CONFORMING, PATIENCE, Running

RAISING = Path(__file__).with_name("raising.py")


def raising(tmp: Path, place: str, error: str, *, workers: int = 1) -> Running:
    folder = tmp / "server"
    folder.mkdir()
    (tmp / "tmp").mkdir()
    manifest = (CONFORMING / "drainproof.toml").read_text()
    manifest = manifest.replace('build = ".."', f'build = "{CONFORMING.parent}"')
    (folder / "drainproof.toml").write_text(manifest.replace('"server.py"', f'"{RAISING}"'))
    return Running(folder, tmp=tmp / "tmp", workers=workers, RAISES=f"{place} {error}")


def without_debris(server: Running) -> None:
    lines = [{"t": 0.0, "stream": "stdout", "text": line} for line in server.text().splitlines()]
    assert find_debris(lines) == []


def a_request_fails_alone(tmp: Path, error: str) -> None:
    with raising(tmp, "handler", error) as server, ThreadPoolExecutor(4) as pool:
        server.await_serving()
        others = [pool.submit(server.predict, token=f"token-{n}", ms=1500) for n in range(4)]
        server.await_accepted(4)
        assert server.predict(token="raise")[0] == 500
        with calling(server) as channel:
            assert infer(channel, token="raise") == "INTERNAL: an error in the server"
            assert infer(channel, token="token") == "token"
        assert [one.result()[0] for one in others] == [200] * 4
        assert server.stop() == 0
        without_debris(server)


def the_server_goes_down_in_order(tmp: Path, place: str, error: str, workers: int) -> None:
    with raising(tmp, place, error, workers=workers) as server, ThreadPoolExecutor(4) as pool:
        server.await_serving()
        with calling(server) as channel:
            asked = [pool.submit(server.predict, token=f"token-{n}", ms=1500) for n in range(4)]
            called = begin(channel, token="called", seconds=1.5)
            server.await_accepted(4)
            assert infer(channel, token="the server has read what came before") != ""
            server.ask("POST", "/_raise")
            assert [one.result()[0] for one in asked] == [200] * 4
            assert outcome(called, token="called") == "called", server.text()
            assert server.wait() == 1, server.text()
        server.await_gone()
        assert "raised by the test" in server.text()
        without_debris(server)


def what_nobody_waits_for_is_survived_and_logged(tmp: Path) -> None:
    with raising(tmp, "loop", "RuntimeError") as server:
        server.await_serving().ask("POST", "/_raise")
        until = time.monotonic() + PATIENCE
        while server.text().count("an error that nobody waits for") < 2:
            assert server.predict()[0] == 200
            assert time.monotonic() < until, server.text()
        assert server.stop() == 0
        without_debris(server)


def the_shutdown_is_begun_anew(tmp: Path, error: str) -> None:
    with raising(tmp, "stop", error) as server, ThreadPoolExecutor(1) as pool:
        server.await_serving()
        asked = pool.submit(server.predict, ms=800)
        server.await_accepted(1)
        assert server.stop() == 1
        assert asked.result()[0] == 200
        server.await_gone()
        without_debris(server)


def a_model_that_raises_is_named(tmp: Path, error: str) -> None:
    with raising(tmp, "load", error, workers=2) as server:
        assert server.wait() == 1
        server.await_gone()
        assert f"cannot load the model: {error}('raised by the test')" in server.text()


CASES: dict[str, Callable[[Path], None]] = {
    **{
        f"{error} in a request": partial(a_request_fails_alone, error=error)
        for error in ("RuntimeError", "SystemExit", "KeyboardInterrupt", "CancelledError")
    },
    **{
        f"{error} in {place}, {workers} workers": partial(
            the_server_goes_down_in_order, place=place, error=error, workers=workers
        )
        for place, error, workers in (
            ("main", "RuntimeError", 1),
            ("main", "KeyboardInterrupt", 2),
            ("main", "CancelledError", 1),
            ("rest", "RuntimeError", 2),
            ("rest", "SystemExit", 1),
            ("grpc", "RuntimeError", 1),
        )
    },
    "in the loop": what_nobody_waits_for_is_survived_and_logged,
    **{
        f"{error} in the shutdown": partial(the_shutdown_is_begun_anew, error=error)
        for error in ("RuntimeError", "SystemExit", "CancelledError")
    },
    **{
        f"{error} while the model is loaded": partial(a_model_that_raises_is_named, error=error)
        for error in ("RuntimeError", "SystemExit")
    },
}


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[None]]]:
    """All selected cases, side by side because they are mostly waiting."""
    selected = [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == Path(__file__) and hasattr(item, "callspec")
    ]
    with ThreadPoolExecutor(8) as pool:
        yield {case: pool.submit(CASES[case], tmp_path_factory.mktemp("case")) for case in selected}


@pytest.mark.parametrize("case", CASES)
def test_it_is_contained_or_ends_the_server_in_order(case: str, outcomes: dict[str, Future[None]]) -> None:
    outcomes[case].result()
