"""Looks at a running target again and again, and writes what it sees to the evidence.

What is written?
    Every look would be megabytes, changes alone would not say how sure they are. So a line is written when the value
    changes, together with the last look before it if that one was not written, and once a second while nothing
    changes. Both sides of each change are exact, and a crash loses a second at most.

Why threads?
    Each probe has its own, so that a health path that hangs holds up nothing but itself, and at most one request is on
    its way to each path. One loop with timers was considered: it would have to drive half-open connections between the
    other looks, and a slow look at the processes would still shift all others. A probe that costs more than half of its
    interval slows itself down instead of eating the machine that it measures.

A look that fails for a reason of ours (no free local port, a table that cannot be read) is written as `error` and says
nothing about the target. Anything else that goes wrong in a thread is raised by `stop()`.

The lines, as `history` reads them (`t0` and `t`: begin and end of the look):

    {"t0", "t", "probe": "listener", "port": 8000, "value": {"inodes": [7], "addresses": ["127.0.0.1"], "backlog": 0}}
    {"t0", "t", "probe": "holders", "value": {"7": [4711]}}                  the target's processes by listening socket
    {"t0", "t", "probe": "readiness", "path": "/ready", "value": {"status": 200}}      or {"failure": "refused"}
    {"t0", "t", "probe": "liveness", …}                                      or {"unsupported": why} instead of a value
    {"t0", "t", "probe": "processes", "value": {"processes": [{"pid", "ppid", …}]}}
    {…, "error": why} instead of a value
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol

import psutil

from drainproof.errors import HarnessError
from drainproof.probes import health, processes, sockets

Write = Callable[[dict[str, Any]], None]

_OURS = (OSError, psutil.Error)
"""What a look may fail with without being a defect of this module."""

_MOVING = frozenset({"running", "sleeping", "disk-sleep", "idle"})
"""States that a living process passes through all the time: no change."""

_JOIN = 10.0


class Sampled(Protocol):
    """What the sampler needs of an instance."""

    @property
    def host(self) -> str:
        """The address that its ports are reached at."""
        ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Port numbers by name; `http` has the health paths."""
        ...

    @property
    def sockets(self) -> sockets.Namespace:
        """The network namespace that it listens in."""
        ...

    def processes(self) -> list[psutil.Process]:
        """The living tree."""
        ...


class Described(Protocol):
    """What the sampler needs of a target."""

    @property
    def readiness(self) -> str | None:
        """The readiness path."""
        ...

    @property
    def liveness(self) -> str | None:
        """The liveness path."""
        ...


class Noting(Protocol):
    """Somebody else who wants to see the tree's processes while they live (`leftovers.Baseline.note`)."""

    def __call__(self, *, pids: Sequence[int]) -> None:
        """Called at each look at the processes, in its thread."""
        ...


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Seconds between the beginnings of two looks."""

    listener: float = 0.02
    health: float = 0.05
    processes: float = 0.1
    heartbeat: float = 1.0
    """How long nothing is written while nothing changes."""


class Channel:
    """The looks of one probe at one thing: decides which of them are written. Used by one thread at a time."""

    def __init__(self, *, write: Write, heartbeat: float, head: dict[str, Any]) -> None:
        self._write = write
        self._heartbeat = heartbeat
        self._head = head
        self._identity: Any = None
        self._unwritten: dict[str, Any] | None = None
        self._written_at = float("-inf")

    def see(self, *, t0: float, t: float, identity: Any, **seen: Any) -> None:
        """One look. `identity`: what must differ for it to count as a change."""
        line = {"t0": t0, "t": t, **self._head, **seen}
        if identity != self._identity:
            self.flush()
            self._put(line)
        elif t - self._written_at >= self._heartbeat:
            self._put(line)
        else:
            self._unwritten = line
        self._identity = identity

    def flush(self) -> None:
        """Writes the last look, if it was not."""
        if self._unwritten is not None:
            self._put(self._unwritten)

    def _put(self, line: dict[str, Any]) -> None:
        self._unwritten = None
        self._written_at = line["t"]
        self._write(line)


class Sampler:
    """The probes of one instance. As a context manager it starts and stops itself."""

    def __init__(
        self,
        *,
        instance: Sampled,
        target: Described,
        write: Write,
        note: Noting | None = None,
        intervals: Intervals | None = None,
        health_timeout: float = health.TIMEOUT,
    ) -> None:
        """`write` gets each line; it is called from several threads, one at a time."""
        self._instance = instance
        self._note = note
        self._intervals = intervals or Intervals()
        self._health_timeout = health_timeout
        self._raw_write = write
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._channels: list[Channel] = []
        self._asking: list[threading.Lock] = []
        """Of each health probe: held while a request of it is on its way."""
        self._threads = [
            self._thread("listener", self._intervals.listener, self._listener_look()),
            self._thread("processes", self._intervals.processes, self._processes_look()),
        ]
        for name, path in (("readiness", target.readiness), ("liveness", target.liveness)):
            if path is None:
                self._say_unsupported(name)
            else:
                self._threads.append(self._thread(name, self._intervals.health, self._health_look(name, path)))

    def start(self) -> None:
        """Starts to look."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the looking, also of a probe that hangs, and writes the last looks. Idempotent.

        Raises HarnessError if a probe broke down: what it has not seen since then is unknown.
        """
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_JOIN)
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if not stuck and not self._failures:
            for channel in self._channels:
                channel.flush()
        if stuck:
            raise HarnessError(f"these probes did not end within {_JOIN:g} s: {', '.join(stuck)}")
        if self._failures:
            error = self._failures[0]
            raise HarnessError(f"a probe broke down: {type(error).__name__}: {error}") from error

    @contextlib.contextmanager
    def quiet(self, *, within: float = health.TIMEOUT) -> Iterator[None]:
        """No health probe has a connection to the target meanwhile.

        For faults that tear down what the server does in that moment: a connection of ours that it is just about to
        accept would be a part of that, on one run and not on the next. One that hangs is not waited for longer than
        `within` seconds; then it goes on.
        """
        until = time.monotonic() + within
        with contextlib.ExitStack() as stack:
            for lock in self._asking:
                if lock.acquire(timeout=max(0.0, until - time.monotonic())):
                    stack.callback(lock.release)
            yield

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except HarnessError:
            if error is None:
                raise

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._raw_write(line)

    def _channel(self, **head: Any) -> Channel:
        channel = Channel(write=self._write, heartbeat=self._intervals.heartbeat, head=head)
        self._channels.append(channel)
        return channel

    def _say_unsupported(self, probe: str) -> None:
        now = time.monotonic()
        why = f"the manifest declares no {probe} path"
        self._write({"t0": now, "t": now, "probe": probe, "path": None, "unsupported": why})

    def _thread(self, name: str, interval: float, look: Callable[[], None]) -> threading.Thread:
        return threading.Thread(target=self._loop, args=(interval, look), name=f"drainproof-probe-{name}", daemon=True)

    def _loop(self, interval: float, look: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                begin, cpu = time.monotonic(), time.thread_time()
                look()
                # A look that waits costs nothing; one that works gets at most half of its thread's time.
                self._stop.wait(max(begin + interval - time.monotonic(), time.thread_time() - cpu))
        except BaseException as error:  # stop() raises it again
            self._failures.append(error)

    # The looks. Each makes its channels once and is then called again and again in its own thread.

    def _listener_look(self) -> Callable[[], None]:
        ports = sorted(set(self._instance.ports.values()))
        channels = {port: self._channel(probe="listener", port=port) for port in ports}
        known: set[int] = set()

        def look() -> None:
            t0 = time.monotonic()
            try:
                found = self._instance.sockets.listeners(ports=ports)
                if known - {one.inode for one in found}:
                    # The kernel gives a long table in pieces, and one that changes meanwhile may lack a row.
                    found = self._instance.sockets.listeners(ports=ports)
            except _OURS as error:
                _say_error(channels.values(), t0, error)
                return
            t = time.monotonic()
            known.clear()
            known.update(one.inode for one in found)
            for port, channel in channels.items():
                here = sorted((one for one in found if one.port == port), key=lambda one: one.inode)
                value = {
                    "inodes": [one.inode for one in here],
                    "addresses": [one.address for one in here],
                    "backlog": sum(one.backlog for one in here),
                }
                # The accept queue moves all the time under load: it is told, but it is no change.
                channel.see(t0=t0, t=t, identity=(value["inodes"], value["addresses"]), value=value)

        return look

    def _health_look(self, name: str, path: str) -> Callable[[], None]:
        channel = self._channel(probe=name, path=path)
        lock = threading.Lock()
        self._asking.append(lock)
        ask = partial(
            health.probe,
            host=self._instance.host,
            port=self._instance.ports["http"],
            path=path,
            timeout=self._health_timeout,
            cancelled=self._stop.is_set,
        )

        def look() -> None:
            with lock:
                t0 = time.monotonic()
                try:
                    seen = ask()
                except _OURS as error:
                    _say_error([channel], t0, error)
                    return
                if seen is not None:
                    channel.see(t0=seen.t0, t=seen.t, identity=seen.value(), value=seen.value())

        return look

    def _processes_look(self) -> Callable[[], None]:
        tree = self._channel(probe="processes")
        holders = self._channel(probe="holders")
        ports = set(self._instance.ports.values())

        def look() -> None:
            t0 = time.monotonic()
            try:
                pids = [process.pid for process in self._instance.processes()]
                found = processes.sample(pids=pids)
                t = time.monotonic()
                inodes = {one.inode for one in self._instance.sockets.listeners(ports=ports)}
                owners = sockets.owners(inodes=inodes, pids=pids) if inodes else {}
            except _OURS as error:
                _say_error([tree, holders], t0, error)
                return
            tree.see(t0=t0, t=t, identity=_identity(found), value={"processes": [one.to_json() for one in found]})
            held = {str(inode): sorted(who) for inode, who in sorted(owners.items())}
            holders.see(t0=t, t=time.monotonic(), identity=held, value=held)
            if self._note is not None:
                self._note(pids=pids)

        return look


def _identity(found: list[processes.ProcessSample]) -> list[tuple[Any, ...]]:
    """What makes two looks at the tree differ: the processes, their programs, and whether they are stopped."""
    return [
        (one.pid, one.created, one.ppid, one.exe, one.cmdline, "" if one.status in _MOVING else one.status)
        for one in found
    ]


def _say_error(channels: Collection[Channel], t0: float, error: BaseException) -> None:
    text = f"{type(error).__name__}: {error}"
    for channel in channels:
        channel.see(t0=t0, t=time.monotonic(), identity=("error", text), error=text)
