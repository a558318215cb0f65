"""What the kernel tells of a container's control group, in either version of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from drainproof.errors import HarnessError, Unsupported
from drainproof.faults.container.hog import kills


def freezer_state(freezer: Path) -> str:
    """`frozen` or `thawed` (version 1 also says `freezing`), or that it is not to be seen.

    Version 1 has a file for it, version 2 tells it among the events of the group.
    """
    with contextlib.suppress(OSError):
        return (freezer / "freezer.state").read_text().strip().lower()
    with contextlib.suppress(OSError):
        return "frozen" if "frozen 1" in (freezer / "cgroup.events").read_text().splitlines() else "thawed"
    return "not to be seen"


def times_held_back(account: Path) -> int:
    """In how many periods it was throttled; 0 where nobody counts (version 2 without a limit) or the group is gone."""
    with contextlib.suppress(OSError):
        for line in (account / "cpu.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == "nr_throttled":
                return int(value)
    return 0


class MemoryGroup:
    """The memory group of a container, in either version of control groups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        first = (folder / "memory.oom_control").exists()
        self.counts = folder / ("memory.oom_control" if first else "memory.events")
        self._used = folder / ("memory.usage_in_bytes" if first else "memory.current")
        self._limit = folder / ("memory.limit_in_bytes" if first else "memory.max")
        self._idle = "total_inactive_file" if first else "inactive_file"

    def require_access(self) -> None:
        """Raises Unsupported where the hog cannot move in, or the kernel does not count."""
        if not os.access(self.folder / "cgroup.procs", os.W_OK):
            raise Unsupported(f"whoever is not root cannot move a process into {self.folder}: run drainproof as root")
        try:
            kills(str(self.counts))
        except OSError as error:
            raise Unsupported(f"the kernel does not count whom it kills for want of memory: {error}") from error

    def used(self) -> int:
        """Bytes in use that cannot be had back by dropping what is only cached. Raises OSError."""
        stat = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(self._used.read_text()) - int(stat.get(self._idle, 0))

    def require_limit(self, limit: int, *, pid: int) -> None:
        """Raises HarnessError unless the process is in this group, and can get no more than `limit` bytes there.

        Else it would take them from the whole machine.
        """
        if str(pid) not in (self.folder / "cgroup.procs").read_text().split():
            raise HarnessError(f"the hog could not be moved into {self.folder}")
        in_force = self._limit.read_text().strip()
        if in_force == "max" or int(in_force) > limit:
            raise HarnessError(f"the engine accepted a memory limit of {limit} bytes, and the kernel has {in_force}")
