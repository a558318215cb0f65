"""What the target's processes hold: descriptors, threads and memory, in a way that an ordinary load does not blur.

Descriptors: the load opens and closes connections all the time. Their ends in the server are known by name (the
kernel's socket table, established, with an inode), so they are taken off the count: what is left belongs to nobody who
is there. A vanished client's socket that was not closed is not established any more: after its FIN it waits in
CLOSE_WAIT, after its RST it is in no table at all, and both stay in the count.

Memory: the unique set size (what would be free if the process ended), because shared pages are counted once for each
worker otherwise. PSS moves with the number of processes, RSS with page cache.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from drainproof.target.instance import Instance

LOOKS = 5
"""Samples for one reading; the smallest counts, because what happens to be going on only adds."""

PAUSE = 0.01


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What all processes of a target held at one time."""

    t: float
    processes: int
    descriptors: int
    """Open ones that are not the server's end of an established connection."""
    threads: int
    memory: int
    """Bytes."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def descriptors(*, instance: Instance, port: int) -> int:
    """The smallest of some counts of descriptors that belong to no living connection."""
    counts = []
    for _ in range(LOOKS):
        held = sum(_count(f"/proc/{pid}/fd") for pid in _pids(instance))
        ends = instance.sockets.snapshot(port=port, host=instance.host).sockets.values()
        counts.append(held - sum(end.state == "ESTABLISHED" and end.inode != 0 for end in ends))
        time.sleep(PAUSE)
    return min(counts)


def reading(*, instance: Instance, port: int) -> Holding:
    """One reading of everything."""
    count = descriptors(instance=instance, port=port)
    looks = [_memory_and_threads(_pids(instance)) for _ in range(2)]
    return Holding(
        t=time.monotonic(),
        processes=len(_pids(instance)),
        descriptors=count,
        threads=min(threads for _, threads in looks),
        memory=min(memory for memory, _ in looks),
    )


def _pids(instance: Instance) -> list[int]:
    return [process.pid for process in instance.processes()]


def _count(folder: str) -> int:
    with contextlib.suppress(OSError):  # the process has just ended
        return len(os.listdir(folder))  # noqa: PTH208 - only the number is wanted, often
    return 0


def _memory_and_threads(pids: Iterable[int]) -> tuple[int, int]:
    memory = threads = 0
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            memory += process.memory_full_info().uss
            threads += process.num_threads()
    return memory, threads
