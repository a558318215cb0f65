"""The attached stream and the end of a container, through a real socket pair and real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from drainproof.errors import HarnessError
from drainproof.hidden import Hidden
from drainproof.target import kernel
from drainproof.target.container.watch import Watch, exit_status


def frame(stream: int, payload: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


class Container:
    """The engine's side: what it sends, and when it says that the container has ended."""

    def __init__(self, folder: Path, *, pidfd: int | None = None) -> None:
        self.engine, ours = socket.socketpair()
        self.ended = threading.Event()
        self.code = 0
        self.failure: Exception | None = None
        self.file = folder / "output.jsonl"
        self.watch = Watch(connection=ours, output=self.file, literals=("Traceback",), pidfd=pidfd, wait=self._wait)

    def _wait(self) -> int:
        self.ended.wait()
        if self.failure is not None:
            raise self.failure
        return self.code

    def end(self, code: int = 0) -> None:
        self.code = code
        self.engine.close()
        self.ended.set()
        assert self.watch.wait_for(lambda: self.watch.output_complete and self.watch.exit, until=soon())

    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def texts(self, stream: str = "stdout") -> list[str]:
        return [r["text"] for r in self.records() if r.get("stream") == stream and "text" in r]


def soon() -> float:
    return time.monotonic() + 30.0


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path)
    yield made
    made.engine.close()
    made.ended.set()
    made.watch.close()


def test_both_streams(container):
    container.engine.sendall(frame(1, b"one\n") + frame(2, b"bad\n") + frame(1, b"two\n"))
    container.end()
    assert container.texts() == ["one", "two"]
    assert container.texts("stderr") == ["bad"]
    assert [r["end"] for r in container.records()[-2:]] == ["stdout", "stderr"]


def test_frames_that_arrive_byte_by_byte(container, eventually):
    for byte in frame(1, b"hello ") + frame(2, b"x\n") + frame(1, b"world\n"):
        container.engine.send(bytes([byte]))
    eventually(
        lambda: container.watch.recent(5) == ["hello world", "x"] or container.watch.recent(5) == ["x", "hello world"]
    )
    container.end()
    assert container.texts() == ["hello world"]
    assert container.texts("stderr") == ["x"]


def test_many_small_frames_in_one_piece(container):
    lines = [f"line {number}" for number in range(20_000)]
    container.engine.sendall(b"".join(frame(1, line.encode() + b"\n") for line in lines))
    container.end()
    assert container.texts() == lines


def test_a_line_longer_than_any_buffer(container):
    """One frame of a megabyte, and a line that goes over several frames."""
    container.engine.sendall(frame(1, b"a" * 1_000_000))
    container.engine.sendall(frame(1, b"b" * 100_000 + b"\nend\n"))
    container.end()
    records = [r for r in container.records() if "text" in r]
    whole = "".join(r["text"] for r in records if r["text"] != "end")
    assert whole == "a" * 1_000_000 + "b" * 100_000
    assert all(r.get("cut") for r in records[:-2])
    assert records[-1]["text"] == "end"


def test_an_empty_frame_and_binary(container):
    container.engine.sendall(frame(1, b"") + frame(1, bytes(range(256))) + frame(1, b"\nafter\n"))
    container.end()
    assert container.texts()[-1] == "after"
    text = "\n".join(container.texts()[:-1])
    assert text.encode("utf-8", "surrogateescape") == bytes(range(256))


def test_a_frame_that_is_cut_off_at_the_end(container):
    container.engine.sendall(frame(1, b"whole\n") + frame(1, b"cut off")[:10])
    container.end()
    assert container.texts() == ["whole"]
    assert container.watch.problems == []


def test_the_end_is_that_of_pid_1_and_the_status_is_the_engines(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    container = Container(tmp_path, pidfd=kernel.pidfd_open(child.pid))
    watch = container.watch
    assert watch.ended_at is None
    before = time.monotonic()
    child.communicate()
    assert watch.wait_for(lambda: watch.ended_at is not None, until=soon())
    assert watch.exit is None, "the engine has not told yet"
    assert before <= watch.ended_at <= time.monotonic()
    ended_at = watch.ended_at
    container.end(3)
    assert (watch.exit.code, watch.exit.signal, watch.exit.time) == (3, None, ended_at)
    watch.close()


def test_an_engine_that_goes_away_is_told_to_everybody_who_waits(container):
    container.failure = HarnessError("the Docker engine at x stopped answering")
    container.ended.set()
    assert container.watch.wait_for(lambda: container.watch.trouble is not None, until=soon())
    assert container.watch.trouble == "the Docker engine at x stopped answering"
    assert container.watch.exit is None


def test_a_defect_of_ours_leaves_nobody_waiting(container):
    container.failure = KeyError("StatusCode")
    container.ended.set()
    assert container.watch.wait_for(lambda: container.watch.trouble is not None, until=soon())
    assert "the end of the container cannot be told: StatusCode" in container.watch.trouble.replace("'", "")


def test_closing_does_not_wait_for_a_process_that_lives_on(tmp_path):
    """The engine is gone, and what it ran is not."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = kernel.pidfd_open(child.pid)
    container = Container(tmp_path, pidfd=pidfd)
    container.engine.close()
    container.watch.close()
    container.watch.close()
    container.ended.set()
    assert not any(thread.is_alive() for thread in container.watch._threads[:2])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pidfd)
    child.communicate()


def test_a_connection_that_is_reset_while_it_runs_is_a_problem(tmp_path, eventually):
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        engine, _ = server.accept()
    ended = threading.Event()
    watch = Watch(
        connection=ours,
        output=tmp_path / "output.jsonl",
        literals=(),
        pidfd=None,
        wait=lambda: 0 if ended.wait() else 1,
    )
    engine.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    engine.close()  # a reset
    eventually(lambda: watch.output_complete)
    assert watch.problems == ["its output could not be read any more: Connection reset by peer"]
    ended.set()
    watch.close()


def test_secrets_are_not_written(tmp_path):
    engine, ours = socket.socketpair()
    ended = threading.Event()
    file = tmp_path / "output.jsonl"
    watch = Watch(
        connection=ours,
        output=file,
        literals=(),
        pidfd=None,
        wait=lambda: 0 if ended.wait() else 1,
        hidden=Hidden(["the-secret"]),
    )
    engine.sendall(frame(1, b"it is the-se") + frame(1, b"cret\n"))
    engine.close()
    ended.set()
    assert watch.wait_for(lambda: watch.output_complete and watch.exit, until=soon())
    assert watch.recent(1) == ["it is [redacted]"]
    watch.close()
    assert "it is [redacted]" in file.read_text()
    assert "the-secret" not in file.read_text()


@pytest.mark.parametrize(
    ("code", "shown", "by"),
    [(0, 0, None), (1, 1, None), (143, 143, None), (130, 130, None), (137, 137, signal.SIGKILL), (255, 255, None)],
)
def test_exit_statuses(code, shown, by):
    status = exit_status(code, 5.0)
    assert (status.shell_code, status.signal, status.time) == (shown, by, 5.0)
