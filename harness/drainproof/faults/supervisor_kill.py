"""The end of the supervisor: SIGKILL to the parent of the workers, which can pass nothing on any more."""

from __future__ import annotations

import contextlib
import os
import signal as signals
import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import Inconclusive
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.worker_kill import DIES_WITHIN, wait_dead
from drainproof.probes.processes import sample_one
from drainproof.target import kernel
from drainproof.target.description import Target


@dataclass(frozen=True, kw_only=True)
class SupervisorKilled:
    """SIGKILL to the process that has started the workers. Due at `WorkersFound`."""

    def check(self, target: Target) -> None:
        """Whether it has workers is known when it runs."""

    def prepare(self, bench: Bench) -> None:
        """Deaths are told by the watch over births and deaths."""
        bench.watches_births = True

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "supervisor_killed"}

    def arm(self, bench: Bench) -> Trigger:
        """The workers are known at the moment; the trigger is quick."""
        return lambda: self._kill(bench)

    def _kill(self, bench: Bench) -> dict[str, Any]:
        found = bench.workers_found
        assert found is not None, "due when the workers are known"
        workers = [one for pid in found.pids if (one := sample_one(pid=pid)) is not None]
        parents = {one.ppid for one in workers} & {process.pid for process in bench.running.processes()}
        if not parents:
            raise Inconclusive("the workers have no parent among the processes of the target")
        pidfds = {pid: kernel.pidfd_open(pid) for pid in parents}
        try:
            before = time.monotonic()
            for descriptor in pidfds.values():
                with contextlib.suppress(ProcessLookupError):
                    kernel.pidfd_send_signal(descriptor, signals.SIGKILL.value)
            dead = wait_dead(pidfds, until=before + DIES_WITHIN)
        finally:
            for descriptor in pidfds.values():
                os.close(descriptor)
        names = ", ".join(map(str, sorted(parents)))
        return {
            **self.describe(),
            "t": before,
            "proven": len(dead) == len(parents),
            "because": f"SIGKILL ended the parent of the workers ({names}); the pidfd says so",
            "supervisors": [{"pid": pid, "died": dead.get(pid)} for pid in sorted(parents)],
            "workers": [one.pid for one in workers],
        }
