"""Finding the workers of a running target by what they are, never by guess.

| the manifest has | workers are |
|---|---|
| `[workers] command` | the processes of the tree whose command line it matches |
| `[workers] pid` | the processes whose pid the answers to the fast request give |
| neither | the processes that are seen to own the server's end of an accepted connection, and their siblings |

Siblings hold the listener, and have the same parent, program and arguments. The main process is no worker: where it
serves by itself there is nobody to supervise. Successors of workers are told by the same pattern, or by being like them
(`probes/kin.py`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import Inconclusive, Unsupported
from drainproof.faults.asking import Asking
from drainproof.faults.bench import Bench
from drainproof.faults.moments import ServersSeen, SteadyState
from drainproof.faults.reading import held_by
from drainproof.load.attempt import fetch_json
from drainproof.load.plan import Hold, Request
from drainproof.probes.kin import Kin
from drainproof.probes.processes import sample
from drainproof.target.readiness import owners_of_listener

PATIENCE = 10.0
"""Seconds that the workers get to be all there."""

TELLS_WITHIN = 2.0
"""Seconds that the target gets to tell of its workers."""

BUSY = 2
"""Requests that a worker holds which is at work."""


@dataclass(frozen=True, kw_only=True)
class FoundWorkers:
    """Who they are, and how that is known."""

    pids: tuple[int, ...]
    kin: Kin
    how: str

    def to_json(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"pids": list(self.pids), "kin": self.kin.to_json(), "how": self.how}


@dataclass(frozen=True, kw_only=True)
class WorkersFound:
    """At steady state, when the workers are known; recorded as the event `workers`."""

    before_ready: bool = False

    def wait(self, bench: Bench) -> None:
        """Finds them. Raises Unsupported where the main process serves alone, Inconclusive where nobody is found."""
        declared = bench.target.workers_are
        if declared.command is not None:
            SteadyState().wait(bench)
            bench.workers_found = _by_pattern(bench, declared.command)
        elif declared.pid is not None:
            SteadyState().wait(bench)
            bench.workers_found = _by_answers(bench, declared.pid)
        else:
            ServersSeen().wait(bench)
            bench.workers_found = _by_service(bench)
        bench.record("workers", **bench.workers_found.to_json())
        record_description(bench)
        self._wait_until_all_are_busy(bench, bench.workers_found)

    def _wait_until_all_are_busy(self, bench: Bench, found: FoundWorkers) -> None:
        """Where workers own the connections, until each of them holds requests that it has read, or patience is over.

        Else the one that dies may have been the only one that was at work, and nothing could be said about the others.
        Two each: one may be answered before the fault comes.
        """
        if not any(isinstance(stream, Hold) for stream in bench.streams):
            return
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and bench.running.exit_status() is None:
            read = {port for port, end in bench.running.sockets.snapshot(port=bench.port).sockets.items() if end.taken}
            held = held_by(bench, found.pids)
            if not any(held.values()) or all(len(read.intersection(ports)) >= BUSY for ports in held.values()):
                return
            bench.running.wait_exit(until=time.monotonic() + 0.01)

    def describe(self) -> str:
        """The moment in words."""
        return "at steady state, when the workers are known"


def record_description(bench: Bench) -> None:
    """What the target itself tells of its workers, if the manifest says where; recorded as `described`."""
    describe = bench.target.workers_are.describe
    if describe is None:
        return
    request = Request(name="describe", method="GET", path=describe.path)
    port = bench.ports[describe.port]
    told = fetch_json(request=request, host=bench.running.host, port=port, timeout=TELLS_WITHIN)
    bench.record("described", t=told.t, status=told.status, value=told.value, failure=told.failure)


def _by_pattern(bench: Bench, pattern: str) -> FoundWorkers:
    kin = Kin(main=bench.running.pid, pattern=pattern)
    until = time.monotonic() + PATIENCE
    while True:
        living = sample(pids=[process.pid for process in bench.running.processes()])
        found = [one.pid for one in living if kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline)]
        if len(found) >= bench.workers or (found and time.monotonic() > until):
            return FoundWorkers(pids=tuple(found), kin=kin, how="the command line that [workers] command names")
        if time.monotonic() > until:
            raise Inconclusive(f"no process of the target has a command line that [workers] command matches: {pattern}")
        bench.running.wait_exit(until=time.monotonic() + 0.05)


def _by_answers(bench: Bench, expression: str) -> FoundWorkers:
    until = time.monotonic() + PATIENCE
    with Asking(bench, expression) as asking:
        while len(asking.workers()) < bench.workers and time.monotonic() < until:
            asking.ask()
            bench.running.wait_exit(until=time.monotonic() + 0.01)
    found, said = sorted(asking.workers() - {bench.running.pid}), set(asking.answers)
    if not found:
        hint = f"the answers gave {sorted(said)}, which is nobody of the target's" if said else "no answer has one"
        raise Inconclusive(f"[workers] pid = {expression!r} leads to no worker: {hint}")
    kin = Kin.of(main=bench.running.pid, workers=sample(pids=found))
    return FoundWorkers(pids=tuple(found), kin=kin, how="the pids in the answers")


def _by_service(bench: Bench) -> FoundWorkers:
    seen = bench.servers - {bench.running.pid}
    if not bench.servers:
        raise Inconclusive("no process was seen to own the server's end of a connection")
    if not seen:
        others = [process.name() for process in bench.running.processes() if process.pid != bench.running.pid]
        text = "the main process itself owns the connections, so there is no worker to supervise"
        if others:
            text += f"; if its workers are others ({', '.join(sorted(set(others)))}), name them in [workers] command"
        raise Unsupported(text)
    kin = Kin.of(main=bench.running.pid, workers=sample(pids=sorted(seen)))
    # Which worker accepts is up to the kernel: a sibling that holds the listener serves too, as soon as it is woken.
    holders = owners_of_listener(bench.running, bench.port) or set()
    living = sample(pids=seen | holders)
    found = [one.pid for one in living if kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline)]
    if found:
        return FoundWorkers(pids=tuple(found), kin=kin, how="they own the server's end of accepted connections")
    raise Inconclusive("the processes that served have ended before the fault")
