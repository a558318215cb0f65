"""The container gets a fraction of one CPU for a while, as under a Kubernetes limit of 250m, and then all of it again.

The kernel lets all its processes run until they have used up their share of a period together, and then none of them
until the next. A server that needs less than its share notices nothing, and then nothing has happened: so the fault
lasts until the kernel has held it back in several periods.

Lost: the period of 100 ms that Docker and Kubernetes use. On a machine with many others on its CPUs a server never gets
a quarter of one for so long, and the limit is never felt; in a short period the same share is used up by one turn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.container.common import ask, container_of, give_back, group_of, only_in_containers
from drainproof.faults.container.groups import times_held_back
from drainproof.faults.reading import read_sockets
from drainproof.target.description import Target

PERIOD = 4_000
"""Microseconds; a quarter of it is the shortest time that the kernel takes for a share."""

USUAL_PERIOD = 100_000
"""Docker's."""

HELD_BACK = 5
"""Periods in which it must have been held back."""

PATIENCE = 20.0
"""Seconds that this may take beyond the time that was asked for."""

LOOK_EVERY = 0.1


@dataclass(frozen=True, kw_only=True)
class Throttled:
    """Gives the container `cpus` of a CPU for `seconds`, and longer where it was not held back in them."""

    seconds: float
    cpus: float = 0.25

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target is not launched in a container."""
        only_in_containers(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "throttled", "seconds": self.seconds, "cpus": self.cpus}

    def arm(self, bench: Bench) -> Trigger:
        """Finds the kernel's account of its CPU time, and what the engine has set for it."""
        account = group_of(bench, "cpu")
        settings = ask(bench, "asked for its CPU limit", lambda: _host_config(bench))
        return lambda: self._inject(bench, account, settings)

    def _inject(self, bench: Bench, account: Path, settings: dict[str, Any]) -> dict[str, Any]:
        container = container_of(bench).container
        usual = {"cpu_period": settings.get("CpuPeriod") or USUAL_PERIOD, "cpu_quota": settings.get("CpuQuota") or -1}
        table = read_sockets(bench)
        before, since = times_held_back(account), time.monotonic()
        ask(
            bench,
            "took CPU time from the container",
            lambda: container.update(cpu_period=PERIOD, cpu_quota=int(self.cpus * PERIOD)),
        )
        times = 0
        try:
            begun = time.monotonic()
            while (now := time.monotonic()) < begun + self.seconds + PATIENCE:
                # The account goes with the container: what it said last holds for one that does not survive.
                times = max(times, times_held_back(account) - before)
                if now >= begun + self.seconds and times >= HELD_BACK:
                    break
                if bench.running.wait_exit(until=now + LOOK_EVERY) is not None:
                    break
        finally:
            give_back(bench, "gave the container its CPU time back", lambda: container.update(**usual))
        over = time.monotonic()
        return {
            **self.describe(),
            "t": since,
            "over": over,
            "proven": times >= HELD_BACK,
            "because": f"with {self.cpus:g} CPUs the kernel held it back in {times} periods (nr_throttled) in "
            f"{over - since:.1f} s" + ("" if times >= HELD_BACK else ": it needs no more than that under this load"),
            "periods_held_back": times,
            "sockets": table,
        }


def _host_config(bench: Bench) -> dict[str, Any]:
    container = container_of(bench).container
    container.reload()
    settings: dict[str, Any] = container.attrs["HostConfig"]
    return settings
