"""Moments: conditions that must hold before a fault is injected. None of them is a mere sleep, except `Delay`."""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass

import psutil

from drainproof.errors import Inconclusive
from drainproof.faults.asking import Asking
from drainproof.faults.bench import Bench
from drainproof.load.driver import Progress
from drainproof.load.plan import WARM, WORTH_HOLDING, Closed, Hold, Idle, Once, SlowReader, SlowWriter, Steady, Stream
from drainproof.probes import sockets
from drainproof.probes.kin import Kin
from drainproof.probes.processes import sample, signal_disposition
from drainproof.recorder import MISSED
from drainproof.target.main_kind import SHELLS
from drainproof.target.readiness import owners_of_listener

RIPE = 0.3
"""Seconds that requests which are sent once shall have been in flight: what has just come may still be turned away."""

PATIENCE = 20.0
"""Seconds beyond the durations of the requests until a steady state that does not come is given up."""


@dataclass(frozen=True, kw_only=True)
class BeforeLaunch:
    """The fault exists before the target does."""

    before_ready: bool = True

    def wait(self, bench: Bench) -> None:
        """Nothing to wait for."""

    def describe(self) -> str:
        """The moment in words."""
        return "before the launch"


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """Every stream of the load does what it was asked to do, and the server has read every request that is held."""

    before_ready: bool = False

    def wait(self, bench: Bench) -> None:
        """Waits for the engine's progress and the kernel's socket table to agree on it."""
        assert bench.load is not None, "a steady state needs a load"
        longest = max((r.duration for r in bench.target.requests if r.duration != float("inf")), default=0.0)
        until = time.monotonic() + PATIENCE + 2 * longest
        held = [s.name for s in bench.streams if isinstance(s, Hold | Once)]
        durations = {r.name: r.duration for r in bench.target.requests}
        once = [durations[s.request] for s in bench.streams if isinstance(s, Once)]
        ripening = RIPE if once and min(once) >= 2 * RIPE else 0.0
        ripe_at: float | None = None
        while True:
            try:
                progress = bench.load.wait_for(
                    lambda p: self._is_gone(bench) or not self._missing(bench.streams, p) or bool(self._over(bench, p)),
                    until=until,
                )
            except TimeoutError:
                missing = self._missing(bench.streams, bench.load.progress())
                text = f"no steady state: {'; '.join(missing)}"
                if held and longest < WORTH_HOLDING:
                    text += f". To hold requests in flight, declare one with a duration of {WORTH_HOLDING:g} s or more"
                raise Inconclusive(text) from None
            if self._is_gone(bench):
                status = bench.running.exit_status()
                assert status is not None
                how = f"with status {status.code}" if status.signal is None else f"by signal {status.signal}"
                raise Inconclusive(f"no steady state: the target ended {how} while it was waited for")
            if over := self._over(bench, progress):
                bench.record(MISSED, streams=over)
                raise Inconclusive(
                    f"no steady state: the requests of stream {over[0]} were answered before it was steady"
                )
            if not self._all_read(bench, progress, held):
                ripe_at = None
            elif ripe_at is None:
                ripe_at = time.monotonic() + ripening
            if ripe_at is not None and time.monotonic() >= ripe_at:
                return
            if time.monotonic() > until:
                raise Inconclusive("no steady state: the server does not accept and read all requests that are held")
            time.sleep(0.005)  # between two looks at the kernel's table

    def _over(self, bench: Bench, progress: Progress) -> list[str]:
        """The streams whose requests are sent once and were answered already: the moment has passed."""
        once = [stream for stream in bench.streams if isinstance(stream, Once)]
        return [stream.name for stream in once if progress.streams[stream.name].right]

    def _is_gone(self, bench: Bench) -> bool:
        """Whether nobody of the target is left. Raises HarnessError where nothing is known of it any more."""
        return bench.running.wait_gone(until=0.0) is not None

    def _missing(self, streams: tuple[Stream, ...], progress: Progress) -> list[str]:
        found = []
        for stream in streams:
            seen = progress.streams.get(stream.name)
            if seen is None:
                found.append(f"stream {stream.name} has not begun")
            elif isinstance(stream, Steady | Closed) and seen.right < WARM:
                found.append(
                    f"stream {stream.name} has {seen.right} right answers of {WARM} ({seen.wrong + seen.failed} others)"
                )
            elif isinstance(stream, Hold | Once):
                wanted = stream.in_flight if isinstance(stream, Hold) else stream.count
                if (sent := len(seen.in_flight_ports)) < wanted:
                    text = f"stream {stream.name} has {sent} of {wanted} requests in flight"
                    text += f" ({seen.wrong + seen.failed} failed)"
                    if waiting := seen.in_flight - sent:
                        text += f", and {waiting} that could not be sent yet"
                    if waiting and stream.connections == "shared":
                        text += " (the server may allow fewer concurrent streams on a connection)"
                    found.append(text)
            elif isinstance(stream, Idle) and seen.open < stream.count:
                found.append(f"stream {stream.name} has {seen.open} of {stream.count} connections open")
            elif isinstance(stream, SlowWriter | SlowReader) and seen.in_flight < stream.count:
                found.append(f"stream {stream.name} has {seen.in_flight} of {stream.count} clients")
        return found

    def _all_read(self, bench: Bench, progress: Progress, held: list[str]) -> bool:
        wanted: dict[int, set[int]] = {}
        for stream in bench.streams:
            if stream.name in held:
                port = bench.port_of(stream)
                wanted.setdefault(port, set()).update(progress.streams[stream.name].in_flight_ports)
        for port, clients in wanted.items():
            table = bench.sockets.snapshot(port=port).sockets if clients else {}
            if not all(client in table and table[client].taken for client in clients):
                return False
        return True

    def describe(self) -> str:
        """The moment in words."""
        return "at steady state"


UNEVEN = 2.0
"""Seconds after which the processes that were seen to serve are stopped for a moment, so that others get their turn."""

PAUSED = 0.3
"""Seconds that they are stopped: several connections come in this time, and no client gives up."""


def _is_watched(process: psutil.Process) -> bool:
    """Whether its parent learns that it was stopped, and may act on it.

    The kernel tells the parent by a SIGCHLD. A handler that then calls `wait` blocks for ever, and a shell with job
    control takes the job for done.
    """
    parent = process.parent()
    if parent is None:
        return False
    return parent.name() in SHELLS or signal_disposition(pid=parent.pid, signum=signal.SIGCHLD) == "handled"


def _alive(bench: Bench) -> list[psutil.Process]:
    return [process for process in bench.running.processes() if process.is_running()]


def _of_the_declared_command(bench: Bench) -> set[int]:
    """The living processes that `[workers] command` names; nobody where it is not declared."""
    pattern = bench.target.workers_are.command
    if pattern is None:
        return set()
    kin = Kin(main=bench.running.pid, pattern=pattern)
    living = sample(pids=[process.pid for process in bench.running.processes()])
    return {one.pid for one in living if kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline)}


@dataclass(frozen=True, kw_only=True)
class ServersSeen:
    """As soon as as many distinct processes have been seen to serve as workers are declared, or `patience` is over.

    A process serves when it owns the server's end of an accepted connection. Which worker accepts is up to the kernel,
    so this takes many connections; the load must make new ones all the time. Where a process in front owns them all,
    who serves behind it is known by what `[workers]` declares:

    | the manifest has | who serves |
    |---|---|
    | `[workers] pid` | the processes whose pids answers give |
    | `[workers] command` | of the owners those whose command line matches; where none does, all processes that match |
    """

    patience: float = 10.0
    before_ready: bool = False

    def wait(self, bench: Bench) -> None:
        """Looks at the owners of accepted connections again and again and records them as the event `servers`."""
        SteadyState().wait(bench)
        answers_tell = bench.target.workers_are.pid is not None
        if not answers_tell and not sockets.may_look_into(pid=bench.running.pid):
            if bench.workers == 1:
                return  # it is steady, and there is nobody else who would have to serve as well
            raise Inconclusive(
                "which process has which connection cannot be seen: only root, or the user whom the target runs as, "
                "may look into its processes. Run drainproof as that user, or as root"
            )
        self._look(bench)
        SteadyState().wait(bench)

    def _look(self, bench: Bench) -> None:
        begun = time.monotonic()
        seen: set[int] = set()
        paused: set[int] = set()
        expression = bench.target.workers_are.pid
        with Asking(bench, expression) if expression is not None else contextlib.nullcontext() as asking:
            while len(seen) < bench.workers and time.monotonic() < self._until(bench, begun, seen):
                self._see(bench, seen, asking)
                if bench.running.wait_exit(until=time.monotonic() + 0.01) is not None:
                    break
                if 0 < len(seen) < bench.workers and time.monotonic() > begun + UNEVEN:
                    paused |= self._let_the_others(bench, seen, asking)
        bench.servers = set(seen)
        lines: dict[int, list[str]] = {}
        for process in _alive(bench):
            with contextlib.suppress(psutil.Error):
                lines.update({process.pid: process.cmdline()} if process.pid in seen else {})
        bench.record(
            "servers",
            pids=sorted(seen),
            declared=bench.workers,
            own_pids={pid: bench.running.own_pid(pid) for pid in sorted(seen)},
            command_lines=lines,
            paused=sorted(paused),
            might_serve=sorted(self._might_serve(bench, seen)) if not seen <= paused else [],
            answers=None if asking is None else len(asking.answers),
        )

    def _until(self, bench: Bench, begun: float, seen: set[int]) -> float:
        """Until when it is looked: who was born a moment ago still has to start, and takes as long as the target does.

        A supervisor may have replaced a worker that was slow to start on a busy machine. One that does so for ever is
        looked at until the start-up deadline.
        """
        others = {process.pid for process in _alive(bench)} - seen - {bench.running.pid}
        started = [born.created + 2 * bench.usual_start() for born in sample(pids=others)]
        return min(max([begun + self.patience, *started]), begun + bench.target.start_deadline)

    def _see(self, bench: Bench, seen: set[int], asking: Asking | None) -> None:
        if asking is not None:
            asking.ask()
            seen |= asking.workers()
            return
        inodes = [
            s.inode for s in bench.running.sockets.snapshot(port=bench.port).sockets.values() if s.accepted and s.inode
        ]
        pids = [process.pid for process in bench.running.processes()]
        owned = sockets.owners(inodes=inodes, pids=pids).values()
        found = {pid for owners in owned if len(owners) == 1 for pid in owners}
        if found and bench.target.workers_are.command is not None:
            workers = _of_the_declared_command(bench)
            found = found & workers or workers
        seen |= found

    def _let_the_others(self, bench: Bench, seen: set[int], asking: Asking | None) -> set[int]:
        """Stops the processes that were seen for a moment, so that new connections are for somebody else to accept.

        The kernel may wake the same one of several processes for as long as it keeps up, and nothing is wrong then.
        Returns those that were stopped: not the main process, nor one whose parent would take notice.
        """
        stopped = []
        try:
            for process in _alive(bench):
                if process.pid in seen and process.pid != bench.running.pid:
                    with contextlib.suppress(psutil.Error, OSError):
                        if not _is_watched(process):
                            process.suspend()
                            stopped.append(process)
            until = time.monotonic() + PAUSED
            while stopped and len(seen) < bench.workers and time.monotonic() < until:
                self._see(bench, seen, asking)
                bench.running.wait_exit(until=time.monotonic() + 0.01)
        finally:
            for process in stopped:
                with contextlib.suppress(psutil.Error):
                    process.resume()
        bench.running.wait_exit(until=time.monotonic() + PAUSED)  # they catch up
        return {process.pid for process in stopped}

    def _might_serve(self, bench: Bench, seen: set[int]) -> set[int]:
        """Those that hold the listener, or are workers by their command line, and were not seen.

        A main process that has others serve for it is none.
        """
        holders = (owners_of_listener(bench.running, bench.port) or set()) | _of_the_declared_command(bench)
        return holders - seen - ({bench.running.pid} if bench.running.pid not in seen else set())

    def describe(self) -> str:
        """The moment in words."""
        return "when every worker has been seen to serve"


@dataclass(frozen=True, kw_only=True)
class Delay:
    """So many seconds after the previous fault (or after the launch)."""

    seconds: float
    before_ready: bool = False

    def wait(self, bench: Bench) -> None:
        """Waits for nothing else: the delay itself is what is wanted. The fault's proof says whether it was in time."""
        bench.running.wait_exit(until=bench.last + self.seconds)

    def describe(self) -> str:
        """The moment in words."""
        return f"{self.seconds:g} s later"


@dataclass(frozen=True, kw_only=True)
class StartUp:
    """At a fraction of the time that this target usually takes to become ready."""

    fraction: float
    before_ready: bool = True

    def wait(self, bench: Bench) -> None:
        """Waits since the launch; the experiment finds out by its probes whether the target was ready already."""
        due = bench.running.started + self.fraction * bench.usual_start()
        bench.running.wait_exit(until=due)

    def describe(self) -> str:
        """The moment in words."""
        return f"at {self.fraction:.0%} of the start-up"


@dataclass(frozen=True, kw_only=True)
class Listening:
    """As soon as the HTTP port listens, whether the target is ready or not."""

    before_ready: bool = True

    def wait(self, bench: Bench) -> None:
        """Polls the kernel's table of listeners every 2 ms."""
        until = bench.running.started + bench.target.start_deadline
        while not bench.running.sockets.listeners(ports=[bench.port]):
            if bench.running.wait_exit(until=time.monotonic() + 0.002) is not None or time.monotonic() > until:
                raise Inconclusive(f"port {bench.port} never listened")

    def describe(self) -> str:
        """The moment in words."""
        return "as soon as the port listens"
