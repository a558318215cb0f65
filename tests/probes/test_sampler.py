"""The sampler on a real server process that says itself when it did what."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
import pytest
from drainproof.errors import HarnessError
from drainproof.probes import sockets
from drainproof.probes.history import Change, History
from drainproof.probes.sampler import Intervals, Sampler

SERVER = """
import http.server, json, os, signal, socketserver, sys, threading, time
state = {"ready": 200}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/hang":
            time.sleep(60)
        self.send_response(state["ready"] if self.path == "/ready" else 200)
        self.end_headers()
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
def say(what):
    print(json.dumps({"what": what, "t": time.monotonic()}), flush=True)
server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {15})
say("up")
child = None
for command in sys.stdin:
    say("before")
    if command == "unready\\n":
        state["ready"] = 503
    elif command == "fork\\n":
        child = os.fork()
        if not child:
            time.sleep(60)
    elif command == "reap\\n":
        os.kill(child, 9); os.waitpid(child, 0)
    elif command == "close\\n":
        server.shutdown()  # the kernel keeps a socket that somebody polls
        server.server_close()
    say("after")
    if command == "exit\\n":
        os._exit(0)
"""


@dataclass
class Running:
    """A server process with what the sampler needs of an instance."""

    process: subprocess.Popen[str]
    ports: Mapping[str, int]
    host: str = "127.0.0.1"
    sockets: sockets.Namespace = sockets.HERE

    def processes(self) -> list[psutil.Process]:
        try:
            main = psutil.Process(self.process.pid)
            if main.status() == psutil.STATUS_ZOMBIE:
                return []
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def do(self, command: str) -> tuple[float, float]:
        """Lets the server do something; returns when it began and when it was done."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.said(), self.said()

    def said(self) -> float:
        assert self.process.stdout is not None
        return float(json.loads(self.process.stdout.readline())["t"])


@dataclass(frozen=True)
class Paths:
    readiness: str | None = "/ready"
    liveness: str | None = "/live"


@pytest.fixture
def server() -> Iterator[Running]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        running = Running(process=process, ports={"http": port})
        running.said()
        yield running
        for one in running.processes()[1:]:
            one.kill()
        process.kill()


class Lines(list[dict[str, Any]]):
    """What was written, with waiting for more."""

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for line in list(self):
                if condition(line):
                    return line
            time.sleep(0.005)
        raise AssertionError(f"no such line among {list(self)}")

    def history(self) -> History:
        return History(json.loads(json.dumps(self)))


def contains(change: Change | None, truth: tuple[float, float]) -> bool:
    """Whether the change may have happened while the server says it did it, and nowhere else for sure."""
    assert change is not None
    return change.earliest <= truth[1] and change.latest >= truth[0]


def test_every_change_is_dated_by_what_was_seen_before_and_after_it(server: Running) -> None:
    lines = Lines()
    port = server.ports["http"]
    with Sampler(instance=server, target=Paths(), write=lines.append):
        lines.wait(lambda line: line["probe"] == "readiness" and line["value"] == {"status": 200})
        lines.wait(lambda line: line["probe"] == "liveness" and line["value"] == {"status": 200})
        lines.wait(lambda line: line["probe"] == "holders" and line["value"] != {})
        unready = server.do("unready")
        lines.wait(lambda line: line["probe"] == "readiness" and line["value"] == {"status": 503})
        closed = server.do("close")
        lines.wait(lambda line: line["probe"] == "listener" and line["value"]["inodes"] == [])
        lines.wait(lambda line: line["probe"] == "liveness" and line["value"] == {"failure": "refused"})
        exited = server.do("exit")
        lines.wait(lambda line: line["probe"] == "processes" and line["value"]["processes"] == [])
    history = lines.history()
    assert contains(history.first_negative(path="/ready", after=unready[0]), unready)
    assert contains(history.listener_closed(port=port, after=closed[0]), closed)
    assert contains(history.first_negative(path="/live", after=closed[0], probe="liveness"), closed)
    assert any(contains(change, exited) for change in history.changes(probe="processes"))
    assert len(history.listener_losses(port=port, after=closed[0])) >= 1
    assert history.pids() == {server.process.pid}


def test_the_holders_of_a_shared_listener(server: Running) -> None:
    lines = Lines()
    with Sampler(instance=server, target=Paths(None, None), write=lines.append):
        lines.wait(lambda line: line["probe"] == "holders" and [server.process.pid] in line["value"].values())
        server.do("fork")
        lines.wait(lambda line: line["probe"] == "holders" and any(len(pids) == 2 for pids in line["value"].values()))
        ended = server.do("reap")
        lines.wait(lambda line: line["t0"] > ended[1] and line["probe"] == "holders")
    (loss,) = lines.history().listener_losses(port=server.ports["http"], after=ended[0])
    assert loss.earliest <= ended[1]
    assert loss.latest >= ended[0]


def test_while_nothing_changes_little_is_written(server: Running) -> None:
    lines = Lines()
    intervals = Intervals(heartbeat=0.3)
    with Sampler(instance=server, target=Paths(liveness=None), write=lines.append, intervals=intervals):
        start = time.monotonic()
        lines.wait(lambda line: line["t"] > start + 0.9)
        stop = time.monotonic()
    written = [line for line in lines if line["probe"] == "listener"]
    assert 3 <= len(written) <= (stop - start) / 0.3 + 2
    assert written[-1]["t"] > stop - 0.2, "the last look is written at the end"


def test_a_hanging_path_holds_up_nothing_and_stop_is_prompt(server: Running) -> None:
    lines = Lines()
    with Sampler(instance=server, target=Paths(readiness="/hang"), write=lines.append, health_timeout=60):
        lines.wait(lambda line: line["probe"] == "liveness" and line["value"] == {"status": 200})
        server.do("unready")
        server.do("close")
        lines.wait(lambda line: line["probe"] == "liveness" and "failure" in line["value"])
        begin = time.monotonic()
    assert time.monotonic() - begin < 10
    assert not [line for line in lines if line["probe"] == "readiness"]


@dataclass
class Nobody:
    """An instance without a process."""

    ports: Mapping[str, int]
    host: str = "127.0.0.1"
    sockets: sockets.Namespace = sockets.HERE

    def processes(self) -> list[psutil.Process]:
        return []


def test_never_more_than_one_request_at_a_time_to_a_path() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        lines = Lines()
        with Sampler(
            instance=Nobody({"http": port}), target=Paths(liveness=None), write=lines.append, health_timeout=0.2
        ):
            until = time.monotonic() + 10
            while sockets.HERE.snapshot(port=port).backlog < 3:
                assert time.monotonic() < until
    # Not by counting connections in the kernel's table: it is read piece by piece, and may show one before its end
    # and the next one after its beginning.
    looks = [line for line in lines if line["probe"] == "readiness"]
    assert {line["value"]["failure"] for line in looks} == {"timeout"}
    assert all(later["t0"] >= earlier["t"] for earlier, later in pairwise(looks))


def test_while_it_is_quiet_no_connection_is_made(server: Running) -> None:
    lines = Lines()

    def looks() -> int:
        return sum(line["probe"] == "readiness" for line in lines)

    with Sampler(instance=server, target=Paths(), write=lines.append, intervals=Intervals(heartbeat=0.0)) as sampler:
        until = time.monotonic() + 10
        while not looks():
            assert time.monotonic() < until
        with sampler.quiet():
            began, before = time.monotonic(), looks()
            listener = sum(line["probe"] == "listener" for line in lines)
            while sum(line["probe"] == "listener" for line in lines) < listener + 10:
                assert time.monotonic() < until, "the others go on"
            ended = time.monotonic()
            assert looks() == before
        while looks() < before + 2:
            assert time.monotonic() < until, "and so do these, afterwards"
    seen = [line for line in lines if line["probe"] in ("readiness", "liveness")]
    assert not [line for line in seen if line["t"] > began and line["t0"] < ended]


def test_a_probe_that_hangs_is_not_waited_for_to_be_quiet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        lines = Lines()
        with Sampler(instance=Nobody({"http": port}), target=Paths(), write=lines.append, health_timeout=60) as sampler:
            until = time.monotonic() + 10
            while not sockets.HERE.snapshot(port=port).backlog:
                assert time.monotonic() < until
            with sampler.quiet(within=0.1):
                pass


def test_a_path_that_the_target_does_not_have_is_said(server: Running) -> None:
    lines = Lines()
    with Sampler(instance=server, target=Paths(liveness=None), write=lines.append):
        pass
    assert "no liveness path" in str(lines.history().unsupported(probe="liveness"))
    assert lines.history().unsupported(probe="readiness") is None


def test_a_look_that_fails_for_our_own_reasons_is_an_error_and_no_value(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = Lines()

    def denied() -> list[psutil.Process]:
        raise psutil.AccessDenied(1)

    monkeypatch.setattr(server, "processes", denied)
    with Sampler(instance=server, target=Paths(None, None), write=lines.append):
        line = lines.wait(lambda line: line["probe"] == "processes")
    assert "AccessDenied" in line["error"]
    assert lines.history().states(probe="processes") == ()


def test_a_probe_that_breaks_down_is_raised_at_the_end(server: Running) -> None:
    def note(*, pids: Sequence[int]) -> None:
        broken.set()
        raise ZeroDivisionError(f"with {pids}")

    broken = threading.Event()
    sampler = Sampler(instance=server, target=Paths(None, None), write=Lines().append, note=note)
    sampler.start()
    assert broken.wait(10)
    with pytest.raises(HarnessError, match="ZeroDivisionError: with"):
        sampler.stop()


def test_it_survives_the_sudden_death_of_the_instance(server: Running) -> None:
    lines = Lines()
    with Sampler(instance=server, target=Paths(), write=lines.append):
        lines.wait(lambda line: line["probe"] == "readiness" and line["value"] == {"status": 200})
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        lines.wait(lambda line: line["probe"] == "readiness" and line["value"] == {"failure": "refused"})
        lines.wait(lambda line: line["probe"] == "processes" and line["value"] == {"processes": []})
    assert not [line for line in lines if "error" in line]
