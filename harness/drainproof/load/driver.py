"""The driver: starts and steers the load engine from a process that has nothing to do with Locust or gevent.

Importing Locust patches socket, threading and time of the whole process, so the engine lives in a process of its own
(`drainproof.load.engine`). That process is a *zygote*: it imports Locust once, and forks a fresh child for each run, so
that a run costs milliseconds and starts from a clean state. The driver hands each child one end of a socket pair, on
which both sides speak JSON lines:

    driver → child   {"plan": …, "ledger": path}, later {"command": "unroute"}, {"command": "stop", "grace": seconds}
    child → driver   {"event": "hello" | "progress" | "unrouted" | "error" | "end", …}

A socket pair that travels as a file descriptor needs no name in the file system, no port and no accept timeout, and its
end of file is the death notice in both directions: when this process dies, zygote and children end at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from drainproof.errors import HarnessError
from drainproof.load.ledger import LedgerSummary
from drainproof.load.plan import Plan

START_DEADLINE = 60.0
"""Seconds that the engine may take to import Locust and to say hello, on however slow a machine."""

STOP_MARGIN = 15.0
"""Seconds beyond the grace that the engine may take to write its ledger and to say that it has ended."""

UNROUTE_DEADLINE = 15.0
"""Seconds that the engine may take to confirm that no new connection is opened any more."""

TAIL_LINES = 20

RunState = Literal["starting", "running", "stopping", "ended"]


@dataclass(frozen=True, kw_only=True)
class StreamProgress:
    """What became of one stream so far: `issued` is the sum of `right`, `wrong`, `failed`, `aborted`,
    `routed_elsewhere` and `in_flight`."""

    issued: int = 0
    right: int = 0
    wrong: int = 0
    """Complete answers that were not the right ones."""
    failed: int = 0
    aborted: int = 0
    routed_elsewhere: int = 0
    """Requests that were not sent to the target, because it was no endpoint of its service any more."""
    in_flight: int = 0
    in_flight_ports: tuple[int, ...] = ()
    """Local ports of requests that were completely sent and wait for (the rest of) their answer; at most 4096."""
    open: int = 0
    """Idle streams: connections that are open and idle now."""
    open_ports: tuple[int, ...] = ()
    """The local ports of those connections; at most 4096."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of a run at the moment `t` (CLOCK_MONOTONIC, taken in the engine)."""

    t: float
    state: RunState
    issued: int = 0
    recorded: int = 0
    """Requests whose fate is known; the difference to `issued` is in flight."""
    streams: Mapping[str, StreamProgress] = field(default_factory=dict)
    """By the stream's name; every stream of the plan is there from the start."""

    @property
    def in_flight(self) -> int:
        """Requests of all streams that were issued and have not ended."""
        return self.issued - self.recorded


class LoadEngine:
    """The warm engine process. One per session is enough; it is thread-safe, and runs may overlap.

    It starts with `start` (which returns at once) or with the first `run`. `close` ends it together with every run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._errors: IO[bytes] | None = None

    def start(self) -> None:
        """Starts the process, without waiting for its imports. Does nothing when it is already there."""
        with self._lock:
            if self._process is None:
                self._spawn()

    def run(self, *, plan: Plan, ledger: Path) -> LoadRun:
        """Starts `plan`, its records going to the new file `ledger`. Returns when the engine has taken it on.

        Raises HarnessError when the engine does not come up, or died since the last run.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            with self._lock:
                if self._process is None:
                    self._spawn()
                assert self._process is not None and self._line is not None and self._errors is not None
                offset = os.fstat(self._errors.fileno()).st_size
                try:
                    socket.send_fds(self._line, [b"."], [theirs.fileno()])
                except OSError as error:
                    ours.close()
                    status = self._process.poll()
                    tail = self._tail(offset=0)
                    self._shut()
                    raise HarnessError(f"the load engine is gone (exit status {status}).{tail}") from error
        run = LoadRun(line=ours, plan=plan, ledger=ledger, tail=lambda: self._tail(offset=offset))
        run._begin()
        return run

    def close(self) -> None:
        """Ends the engine and whatever still runs in it. Idempotent; a later `run` starts a new one."""
        with self._lock:
            self._shut()

    def __enter__(self) -> LoadEngine:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id of the zygote, or None where there is none."""
        process = self._process
        return None if process is None else process.pid

    def _spawn(self) -> None:
        self._line, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "drainproof.load.engine"],
                stdin=theirs.fileno(),
                stdout=self._errors,
                stderr=self._errors,
                env=_environment(),
                cwd="/",  # `-m` puts the working directory on sys.path, where a user's `types.py` would be imported
                start_new_session=True,  # a terminal's Ctrl-C is for pytest, which then stops the load in order
            )

    def _shut(self) -> None:
        if self._line is not None:
            # shutdown, not only close: a process forked from this one may hold a copy of the descriptor
            _shut_down(self._line)
            self._line = None
        if self._process is not None:
            try:
                self._process.wait(5.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _tail(self, *, offset: int) -> str:
        """The last lines that the engine wrote to stderr from `offset` on, ready to be put behind a message."""
        errors = self._errors
        if errors is None or errors.closed:
            return ""
        size = os.fstat(errors.fileno()).st_size
        start = max(offset, size - 65536)
        text = os.pread(errors.fileno(), max(size - start, 0), start).decode(errors="replace").strip()
        return "\n" + "\n".join(text.splitlines()[-TAIL_LINES:]) if text else " It wrote nothing to stderr."


class LoadRun:
    """One run of one plan. As a context manager it makes sure that the load is over afterwards.

    A run that was not stopped ends with `end`, with its engine, or with this process.
    """

    def __init__(self, *, line: socket.socket, plan: Plan, ledger: Path, tail: Callable[[], str]) -> None:
        """For `LoadEngine.run`. `tail` gives what the engine wrote to stderr since the run began."""
        self.plan = plan
        self.ledger = ledger
        self.pid: int | None = None
        """The process id of the child that does this run, known once `LoadEngine.run` has returned."""
        self.summary: LedgerSummary | None = None
        """What the engine says of itself; there after `stop`."""
        self._line = line
        self._tail = tail
        self._changed = threading.Condition()
        self._progress = Progress(
            t=time.monotonic(), state="starting", streams={s.name: StreamProgress() for s in plan.streams}
        )
        self._trouble: str | None = None
        self._sending = threading.Lock()
        self._unrouted: float | None = None
        self._over = False
        self._ended_by_us = False

    def progress(self) -> Progress:
        """The newest state that the engine told (every 20 ms, and when the run's state changes).

        Raises HarnessError if the engine died.
        """
        with self._changed:
            self._raise_trouble()
            return self._progress

    def wait_for(self, condition: Callable[[Progress], bool], *, until: float) -> Progress:
        """Waits until `condition` holds for a progress, and returns that one.

        Raises TimeoutError at the moment `until` (CLOCK_MONOTONIC) or when the run ended without it, HarnessError if
        the engine died.
        """
        with self._changed:
            while True:
                self._raise_trouble()
                if condition(self._progress):
                    return self._progress
                if self._over:
                    raise TimeoutError(f"the load ended before the condition held: {self._progress}")
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"the condition did not hold in time: {self._progress}")
                self._changed.wait(left)

    def unroute(self) -> float:
        """Takes the target out of its service: from the moment that is returned on, no stream opens a connection to it.

        Requests on connections that are open go on, and further ones follow on them for as long as the target keeps
        them. A request that would need a new connection goes elsewhere: it is counted as `routed_elsewhere`, and is no
        failure. Idempotent. Raises HarnessError if the engine died, does not confirm it, or had ended the load before.
        """
        self._send({"command": "unroute"})
        with self._changed:
            self._changed.wait_for(
                lambda: self._unrouted is not None or self._over or self._trouble is not None, timeout=UNROUTE_DEADLINE
            )
            if self._unrouted is not None:
                return self._unrouted
            self._raise_trouble()
            if self._over:
                raise HarnessError("the load had ended before the target was taken out of its service")
            raise HarnessError(f"the load engine did not confirm within {UNROUTE_DEADLINE} s that the way is closed")

    def stop(self, *, grace: float) -> None:
        """No new requests from now on; those in flight may end within `grace` seconds, the rest is recorded as aborted.

        Returns when the ledger is complete; `summary` is there then. Slow writers and slow readers, which never end by
        themselves, are not waited for. Raises HarnessError if the engine died or does not end. Idempotent.
        """
        if grace < 0:
            raise ValueError(f"grace must be 0 or more seconds, not {grace}")
        with self._changed:
            over = self._over
        if not over:
            self._send({"command": "stop", "grace": grace})
        deadline = time.monotonic() + grace + STOP_MARGIN
        with self._changed:
            if not self._changed.wait_for(lambda: self._over, timeout=deadline - time.monotonic()):
                self._trouble = f"the load engine did not end within {grace} s of grace and {STOP_MARGIN} s beyond"
        self.end()
        with self._changed:
            self._raise_trouble()
            if self.summary is None:
                raise HarnessError("the load was ended before it could be stopped in order")

    def end(self) -> None:
        """Ends the run at once, without a summary unless it was stopped before. Idempotent, never raises."""
        with self._changed:
            self._ended_by_us = True
        _shut_down(self._line)
        if self._reader.is_alive():
            self._reader.join(5.0)

    def __enter__(self) -> LoadRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _begin(self) -> None:
        """Sends the plan, starts the reader, and waits for the engine's hello."""
        self._reader = threading.Thread(target=self._read, name="drainproof-load", daemon=True)
        self._reader.start()
        try:
            self._send({"plan": self.plan.to_json(), "ledger": str(self.ledger.absolute())})
            with self._changed:
                self._changed.wait_for(lambda: self.pid is not None or self._over, timeout=START_DEADLINE)
                self._raise_trouble()
                if self.pid is None:
                    raise HarnessError(f"the load engine did not start within {START_DEADLINE} s.{self._tail()}")
        except BaseException:
            self.end()
            raise

    def _send(self, message: dict[str, Any]) -> None:
        try:
            with self._sending:
                self._line.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            # The reader sees the same end, and knows what was said before it.
            self._reader.join(5.0)

    def _read(self) -> None:
        """The reader thread: takes in what the engine says until its end of file."""
        try:
            with self._line.makefile("rb") as lines:
                for line in lines:
                    self._take(json.loads(line))
        except (OSError, ValueError) as error:
            self._note(f"the line to the load engine broke ({error})")
        with self._changed:
            if self.summary is None and not self._ended_by_us:
                self._note("the load engine ended unexpectedly")
            self._over = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            event = message["event"]
            if event == "hello":
                self.pid = message["pid"]
            elif event == "error":
                self._note(f"the load engine failed: {message['text'].rstrip()}", tail=False)
            elif event == "progress":
                self._progress = _progress(message)
            elif event == "unrouted":
                self._unrouted = message["t"]
            elif event == "end":
                self.summary = LedgerSummary(**message["summary"])
                self._over = True
            self._changed.notify_all()

    def _note(self, trouble: str, *, tail: bool = True) -> None:
        """Keeps the first trouble; what follows is mostly its consequence. What the engine told itself is complete."""
        with self._changed:
            if self._trouble is None and not self._ended_by_us:
                self._trouble = trouble + ("." + self._tail() if tail else "")

    def _raise_trouble(self) -> None:
        if self._trouble is not None:
            raise HarnessError(self._trouble)


def _progress(message: dict[str, Any]) -> Progress:
    streams = {
        name: StreamProgress(
            **{**v, "in_flight_ports": tuple(v["in_flight_ports"]), "open_ports": tuple(v["open_ports"])}
        )
        for name, v in message["streams"].items()
    }
    return Progress(
        t=message["t"],
        state=message["state"],
        issued=sum(s.issued for s in streams.values()),
        recorded=sum(s.issued - s.in_flight for s in streams.values()),
        streams=streams,
    )


def _environment() -> dict[str, str]:
    """This process's environment without what would turn Locust, gevent or gRPC into something else than we tested.

    Relative entries of PYTHONPATH are made absolute, because the engine runs in another working directory.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LOCUST_", "GEVENT", "GRPC_"))}
    if path := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(p).absolute()) for p in path.split(os.pathsep) if p)
    return kept


def _shut_down(line: socket.socket) -> None:
    """Ends a socket pair for both sides, also where other processes hold copies of our end; then closes it."""
    with contextlib.suppress(OSError):  # the other side is gone already
        line.shutdown(socket.SHUT_RDWR)
    line.close()
