"""The container is paused for a while and resumed, as a live migration, a snapshot or a starved machine does it.

All its processes are frozen by the kernel where they stand. Its sockets are not: connections are made and bytes taken
on its behalf, and wait. `docker kill`, with any signal, would resume it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.container.common import END, ask, container_of, give_back, group_of, only_in_containers
from drainproof.faults.container.groups import freezer_state
from drainproof.faults.reading import read_sockets
from drainproof.target.description import Target


@dataclass(frozen=True, kw_only=True)
class Paused:
    """Pauses the container for `seconds`."""

    seconds: float

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target is not launched in a container."""
        only_in_containers(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "paused", "seconds": self.seconds}

    def arm(self, bench: Bench) -> Trigger:
        """Finds the freezer."""
        freezer = group_of(bench, "freezer")
        return lambda: self._inject(bench, freezer)

    def _inject(self, bench: Bench, freezer: Path) -> dict[str, Any]:
        container = container_of(bench).container
        table = read_sockets(bench)
        before = time.monotonic()
        ask(bench, "paused the container", container.pause)
        try:
            frozen = [freezer_state(freezer)]
            bench.running.wait_exit(until=time.monotonic() + self.seconds)
            frozen.append(freezer_state(freezer))
        finally:
            give_back(bench, "resumed the container", container.unpause)
        over, now = time.monotonic(), freezer_state(freezer)
        # Its group is gone with it where it ends as soon as it can run again: nobody ends who is frozen.
        ended = now != "thawed" and bench.running.wait_exit(until=over + END) is not None
        proven = frozen == ["frozen", "frozen"] and (ended or now == "thawed")
        then = "then it ended" if ended else f"is {now}"
        states = " and ".join(frozen) if not proven else f"frozen for {over - before:.1f} s, and {then}"
        return {
            **self.describe(),
            "t": before,
            "over": over,
            "proven": proven,
            "because": f"by its control group it was {states}",
            "sockets": table,
        }
