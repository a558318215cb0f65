"""A worker that stands still with requests in its hands: SIGSTOP, and SIGCONT after a while.

What proves it? /proc shows every thread of the process as stopped (`T`) after the signal, and no longer after SIGCONT.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.reading import held_by, read_sockets
from drainproof.target import kernel, tree
from drainproof.target.description import Target

STOPS_WITHIN = 5.0
"""Seconds until a process has stopped: a thread in the middle of a system call stops when that is over."""


@dataclass(frozen=True, kw_only=True)
class WorkerStopped:
    """The worker that holds most requests is stopped for `seconds`. Due at `WorkersFound`."""

    seconds: float

    def check(self, target: Target) -> None:
        """Whether it has workers is known when it runs."""

    def prepare(self, bench: Bench) -> None:
        """A supervisor may replace a worker that does not move."""
        bench.watches_births = True

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "worker_stopped", "seconds": self.seconds}

    def arm(self, bench: Bench) -> Trigger:
        """The workers are known at the moment; the trigger stops one, waits, and lets it go on."""
        return lambda: self._stop(bench)

    def _stop(self, bench: Bench) -> dict[str, Any]:
        found = bench.workers_found
        assert found is not None, "due when the workers are known"
        table = read_sockets(bench)
        held = held_by(bench, found.pids)
        read = set(table["read"]) if table is not None else set()
        victim = max(found.pids, key=lambda pid: len(read.intersection(held[pid])))
        before = time.monotonic()
        stopped = resumed = None
        with contextlib.suppress(ProcessLookupError), _pidfd(victim) as pidfd:
            try:
                kernel.pidfd_send_signal(pidfd, signals.SIGSTOP)
                if _wait(victim, stopped=True):
                    stopped = time.monotonic()
                    bench.running.wait_exit(until=stopped + self.seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    kernel.pidfd_send_signal(pidfd, signals.SIGCONT)
        if stopped is not None and _wait(victim, stopped=False):
            resumed = time.monotonic()
        because = f"the worker {victim} had ended before it could be stopped"
        if stopped is not None:
            because = f"/proc showed the worker {victim} as stopped (T), for {time.monotonic() - stopped:.1f} s"
        return {
            **self.describe(),
            "t": before,
            "until": time.monotonic(),
            "proven": stopped is not None,
            "because": because,
            "victims": [{"pid": victim, "stopped": stopped, "resumed": resumed}],
            "workers": list(found.pids),
            "held": {str(pid): ports for pid, ports in held.items()},
            "sockets": table,
        }


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    """A descriptor of the process. Raises ProcessLookupError where it has ended."""
    descriptor = kernel.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait(pid: int, *, stopped: bool) -> bool:
    """Whether the process came to be stopped (or not stopped) in time. One that has ended is neither."""
    until = time.monotonic() + STOPS_WITHIN
    while (stat := tree.read_stat(pid)) is not None and stat.alive:
        if (stat.state == "T") == stopped:
            return True
        if time.monotonic() > until:
            return False
        time.sleep(0.001)  # between two looks at its state
    return False
