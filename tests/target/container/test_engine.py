"""Engines that are not there, and what their errors say. None of it needs an engine."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.errors import HarnessError, Unsupported
from drainproof.load.plan import Request
from drainproof.target.container import engine
from drainproof.target.container.launcher import LOST, ContainerLauncher
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import Target


@pytest.fixture(autouse=True)
def fresh():
    engine.connect.cache_clear()
    yield
    engine.connect.cache_clear()


def target(**spec) -> Target:
    return Target(
        name="mine",
        launch="container",
        container=ContainerSpec(**(spec or {"image": "mine:1"})),
        folder=Path(),
        manifest=None,
        command=(),
        working_directory=Path(),
        readiness="/ready",
        requests=(Request(name="fast", method="GET", path="/"),),
    )


def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def listening(path: Path, answer: bytes | None) -> Iterator[str]:
    """Something that accepts connections, and answers with the same bytes each time, or never."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        kept = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    kept.append(connection)
                    if answer is not None:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def test_no_socket(monkeypatch, tmp_path):
    where = f"unix://{tmp_path}/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", where)
    with pytest.raises(Unsupported) as caught:
        engine.connect(engine.address())
    assert str(caught.value) == (
        f"no Docker engine answers at {where}: No such file or directory. {engine.HOW_TO_GET_ONE}"
    )
    assert "apt-get install docker.io" in str(caught.value)


def test_a_port_that_refuses(monkeypatch):
    where = refusing()
    monkeypatch.setenv("DOCKER_HOST", where)
    with pytest.raises(Unsupported, match=f"no Docker engine answers at {where}: .*Connection refused"):
        engine.connect(engine.address())


def test_an_address_that_is_none(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "carrier-pigeon://coop")
    with pytest.raises(Unsupported, match=r"no Docker engine answers at carrier-pigeon://coop: .+\. Install one"):
        engine.connect(engine.address())


def test_one_that_hangs_is_asked_once_and_not_for_long(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "PING_TIMEOUT", 0.3)
    with listening(tmp_path / "s", None) as where:
        monkeypatch.setenv("DOCKER_HOST", where)
        launcher = ContainerLauncher(target=target(), progress=lambda _: None)
        with pytest.raises(Unsupported, match=r"no Docker engine answers at .*: .*[Tt]imed out"):
            _ = launcher.image
        monkeypatch.setattr(engine, "connect", lambda _: pytest.fail("asked again"))
        with pytest.raises(Unsupported, match="no Docker engine answers at"):
            _ = launcher.image
        launcher.close()


class Slow(http.server.BaseHTTPRequestHandler):
    """An engine that is there, and takes its time to count what it has."""

    def do_GET(self) -> None:
        self.client_address = ("", 0)
        if self.path.endswith("/info"):
            time.sleep(3 * engine.PING_TIMEOUT)
        body = b'{"ApiVersion": "1.41", "Version": "20.10", "CgroupVersion": "2"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_one_that_is_busy_is_there_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(engine, "PING_TIMEOUT", 0.5)
    with socketserver.ThreadingUnixStreamServer(str(tmp_path / "s"), Slow) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
        try:
            found = engine.connect(engine.address())
        finally:
            server.shutdown()
    assert (found.version, found.cgroups) == ("20.10", 2)
    found.client.close()
    found.quick.close()


def test_something_else_that_listens(monkeypatch, tmp_path):
    with listening(tmp_path / "s", b"SSH-2.0-OpenSSH_9.2\r\n") as where:
        monkeypatch.setenv("DOCKER_HOST", where)
        with pytest.raises(Unsupported, match=r"no Docker engine answers at .*: .+\. Install one"):
            engine.connect(engine.address())


def test_an_engine_that_fails_to_answer_is_not_asked_for_ever(monkeypatch):
    asked = []

    class Silent:
        address = "unix:///s"

        def require(self):
            asked.append(1)
            raise HarnessError("it does not answer any more")

    launcher = ContainerLauncher(target=target(), progress=lambda _: None)
    monkeypatch.setattr(ContainerLauncher, "engine", Silent())
    for _ in range(LOST):
        with pytest.raises(HarnessError, match="does not answer any more"):
            launcher._require_engine()
    with pytest.raises(HarnessError, match=f"failed {LOST} times in a row; it was not asked again"):
        launcher._require_engine()
    assert len(asked) == LOST


def test_an_engine_that_was_busy_once_is_asked_again(monkeypatch):
    """Only what would be the same the next time is remembered: an image that cannot be had, a missing engine."""
    answers = [HarnessError("timed out"), "the image", "not asked"]

    def prepare(self):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ContainerLauncher, "_prepare", prepare)
    launcher = ContainerLauncher(target=target(), progress=lambda _: None)
    with pytest.raises(HarnessError, match="timed out"):
        _ = launcher.image
    assert [launcher.image, launcher.image] == ["the image", "the image"]


def test_an_engine_that_fails_again_and_again_while_the_image_is_made_is_given_up(monkeypatch):
    asked = []

    def prepare(self):
        asked.append(1)
        raise HarnessError("timed out")

    monkeypatch.setattr(ContainerLauncher, "_prepare", prepare)
    launcher = ContainerLauncher(target=target(), progress=lambda _: None)
    for _ in range(LOST):
        with pytest.raises(HarnessError, match="timed out"):
            _ = launcher.image
    with pytest.raises(HarnessError, match="not asked again"):
        _ = launcher.image
    assert len(asked) == LOST


# -- what errors say ---------------------------------------------------------------------------------------------------


def chained() -> Exception:
    try:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise RuntimeError("Error while fetching server API version") from error
    except RuntimeError as error:
        return error


class WithExplanation(Exception):
    def __init__(self, explanation):
        super().__init__("500 Server Error")
        self.explanation = explanation


class WithReason(Exception):
    reason = TimeoutError("timed out")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(2, "No such file or directory"), "No such file or directory"),
        (
            Exception("Connection aborted.", FileNotFoundError(2, "No such file or directory")),
            "No such file or directory",
        ),
        (chained(), "Connection refused"),
        (WithReason("Max retries exceeded"), "timed out"),
        (WithExplanation("no such image \n"), "no such image"),
        (WithExplanation(b"page not found\n"), "page not found"),
        (WithExplanation(""), "500 Server Error"),
        (ValueError(), "ValueError"),
        (KeyError("x"), "'x'"),
    ],
)
def test_the_innermost_reason(error, text):
    assert engine.reason(error) == text


def test_what_the_sdk_raises_becomes_an_error_of_ours():
    import docker
    import requests
    import urllib3

    for error in (
        requests.exceptions.ConnectionError("gone"),
        requests.exceptions.ReadTimeout("gone"),
        requests.exceptions.ChunkedEncodingError("gone"),
        urllib3.exceptions.ProtocolError("gone"),
        ConnectionResetError(104, "gone"),
        docker.errors.StreamParseError(ValueError("gone")),
    ):
        with pytest.raises(HarnessError, match="stopped answering while drainproof built the image: gone"):
            with engine.speaking("built the image"):
                raise error
    with pytest.raises(HarnessError, match="the Docker engine failed while drainproof built the image: disk full"):
        with engine.speaking("built the image"):
            raise docker.errors.DockerException("disk full")
    with pytest.raises(ZeroDivisionError):  # a defect of ours is not blamed on the engine
        with engine.speaking("built the image"):
            raise ZeroDivisionError


def test_that_a_missing_engine_costs_a_run_no_time_per_scenario(tmp_path):
    """A whole run without an engine: one sentence, no traceback, and an exit status that no gate lets pass."""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--launch=container"),
            *(f"--target={root / 'reference_servers/conforming'}", f"--report-dir={tmp_path / 'report'}"),
            *("-k", "TestStopUnderLoad or TestStopOfTheContainer"),
        ],
        env={**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/s", "COLUMNS": "400"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=300,
        text=True,
    )
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "Traceback" not in done.stdout
    assert "Nothing could be judged of conforming." in done.stdout
    summary = done.stdout[done.stdout.index("= drainproof: conforming") :]
    assert (
        summary.count(f"no Docker engine answers at unix://{tmp_path}/s: No such file or directory. Install one") == 1
    )
    assert not list(tmp_path.glob("dp-*"))
