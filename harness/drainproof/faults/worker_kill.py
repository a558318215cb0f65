"""Workers that die: one or all, by a signal; and their successors at birth, for as long as the experiment looks.

The proof of a death is the pidfd of the process: it becomes readable when the process has ended, and it cannot be
another's that has got the same number. Right before the signal it is read who owns the server's ends of the
connections: where a worker itself owns them, its death breaks them, and nobody is left who could answer; where somebody
else does (a front), that one can and must.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal as signals
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.reading import held_by, read_sockets
from drainproof.probes.processes import ProcessSample
from drainproof.target import kernel
from drainproof.target.description import Target

DIES_WITHIN = 10.0
"""Seconds that a worker gets to die of a signal that no process survives; a handler for another may take as long."""

Which = Literal["one", "all"]


def wait_dead(pidfds: dict[int, int], *, until: float) -> dict[int, float]:
    """When each of these processes ended (by pid), as far as it has until then. `pidfds`: by pid."""
    poll = select.poll()
    by_descriptor = {descriptor: pid for pid, descriptor in pidfds.items()}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    dead: dict[int, float] = {}
    while len(dead) < len(pidfds) and (left := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(max(1, int(left * 1000))):
            dead[by_descriptor[descriptor]] = time.monotonic()
            poll.unregister(descriptor)
    return dead


@dataclass(frozen=True, kw_only=True)
class WorkerKilled:
    """`signal` to the worker that holds most requests, or to all at once; then SIGKILL to each successor at birth.

    `at_birth`: a successor is killed as soon as it is seen (`probes/births.INTERVAL`), until the experiment ends, or
    until so many have been killed. Due at `WorkersFound`.
    """

    signal: str = "SIGKILL"
    which: Which = "one"
    at_birth: int = 0
    """How many successors are killed at their birth."""

    def check(self, target: Target) -> None:
        """Whether it has workers is known when it runs."""

    def prepare(self, bench: Bench) -> None:
        """Deaths are told by the watch over births and deaths."""
        bench.watches_births = True

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "worker_killed", "signal": self.signal, "which": self.which, "at_birth": self.at_birth}

    def arm(self, bench: Bench) -> Trigger:
        """The workers are known at the moment; the trigger is quick."""
        return lambda: self._kill(bench)

    def _kill(self, bench: Bench) -> dict[str, Any]:
        found = bench.workers_found
        assert found is not None, "due when the workers are known"
        pidfds: dict[int, int] = {}
        try:
            for pid in found.pids:
                with contextlib.suppress(OSError):
                    pidfds[pid] = kernel.pidfd_open(pid)
            table = read_sockets(bench)
            held = held_by(bench, tuple(pidfds))
            read = set(table["read"]) if table is not None else set()
            in_work = {pid: len(read.intersection(ports)) for pid, ports in held.items()}
            victims = sorted(pidfds, key=lambda pid: -in_work[pid])
            victims = victims if self.which == "all" else victims[:1]
            if self.at_birth and bench.births is not None:
                _Executioner(bench=bench, shots=self.at_birth).begin()
            before = time.monotonic()
            for pid in victims:
                with contextlib.suppress(ProcessLookupError):
                    kernel.pidfd_send_signal(pidfds[pid], signals.Signals[self.signal].value)
            sent = time.monotonic()
            dead = wait_dead({pid: pidfds[pid] for pid in victims}, until=sent + DIES_WITHIN)
        finally:
            for descriptor in pidfds.values():
                os.close(descriptor)
        proven = bool(victims) and len(dead) == len(victims)
        return {
            **self.describe(),
            "t": before,
            "sent": sent,
            "proven": proven,
            "because": self._because(victims, dead),
            "victims": [{"pid": pid, "died": dead.get(pid)} for pid in victims],
            "workers": list(found.pids),
            "held": {str(pid): ports for pid, ports in held.items()},
            "sockets": table,
        }

    def _because(self, victims: list[int], dead: dict[int, float]) -> str:
        if not victims:
            return "the workers had ended before the fault"
        if len(dead) < len(victims):
            left = sorted(set(victims) - set(dead))
            return f"{self.signal} was sent, and {left} had not ended of it after {DIES_WITHIN:.0f} s"
        whom = "the worker" if self.which == "one" else f"all {len(victims)} workers"
        return f"{self.signal} ended {whom} ({', '.join(map(str, victims))}); the pidfd says so"


@dataclass(kw_only=True)
class _Executioner:
    """Kills successors at their birth, in the thread that sees them."""

    bench: Bench
    shots: int
    killed: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """From now on."""
        assert self.bench.births is not None and self.bench.workers_found is not None
        self.before = {one.pid for one in self.bench.births.living()}
        self.bench.executioner_ends = self.bench.births.each_birth(self.on_birth)

    def on_birth(self, one: ProcessSample) -> None:
        """A young process was seen, or has become another program."""
        found = self.bench.workers_found
        assert found is not None
        if one.pid in self.before or not found.kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline):
            return
        with self.lock:
            if one.pid in self.killed or len(self.killed) >= self.shots:
                return
            self.killed.add(one.pid)
        assert self.bench.births is not None
        with contextlib.suppress(ProcessLookupError):
            self.bench.births.send(one, signals.SIGKILL)
            self.bench.record("killed_at_birth", pid=one.pid)
