"""What a series of readings says about a leak. Pure.

A leak is growth that goes on as long as clients vanish. Growth by itself is none: a pool fills up, an allocator keeps
what was once needed, and Python's collector of cycles waits until a quarter of all objects is new. So the series comes
in blocks of rounds, with a reading at rest (after time to close and forget) at the end of each, and is continued while
it looks like a leak:

* descriptors and threads leak where *every block* added more than `SPARE` of them from rest to rest;
* memory leaks where *every block* grew in the median of its rounds by more than `MEMORY` bytes for each client, and
  every block after the first by as much from rest to rest as well. The median, because a single large answer that the
  allocator keeps, or gives back, moves one round by megabytes; from rest to rest, because connections that are held for
  some seconds make the rounds grow but not the block. The first block only arouses suspicion: a leak begins in what
  the allocator has to spare.

What this cannot see: a leak of less than `MEMORY` for each client. On servers that do not leak, up to 3.5 KiB were
measured for each client over thousands of clients until the collector came; see docs/explanation/bad-clients.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

SPARE = 8
"""Descriptors or threads that may have become more: connections of others that come and go while we look."""

MEMORY = 8192
"""Bytes for each client below which growth is not told from what allocators and collectors do."""

MOST = 3
"""A series that looks like a leak is continued to at most so many blocks."""

Reading = Mapping[str, Any]
"""`round` (0: the warm-up), `vanished` (clients so far), `at_rest`, `descriptors`, `threads`, `memory` (bytes)."""


def found(readings: Sequence[Reading]) -> dict[str, str]:
    """What leaks, with a phrase that says how: a subset of `descriptors`, `threads`, `memory`.

    After the first block: what makes another one worth while.
    """
    rest = [reading for reading in readings if reading["at_rest"]]
    if len(rest) < 2:
        return {}
    leaks = {}
    for what in ("descriptors", "threads"):
        if min(b[what] - a[what] for a, b in pairwise(rest)) > SPARE:
            leaks[what] = f"{rest[0][what]} {what} became {rest[-1][what]}"
    if _memory_leaks(readings):
        leaks["memory"] = f"{_step(rest[0], rest[-1]) / 1024:.1f} KiB of memory were kept for each of them"
    return leaks


def memory_steps(readings: Sequence[Reading]) -> list[int]:
    """Bytes of memory that each round added for each client that vanished in it."""
    return [_step(before, after) for before, after in pairwise(readings)]


def _memory_leaks(readings: Sequence[Reading]) -> bool:
    steps = memory_steps(readings)
    ends = [index for index, reading in enumerate(readings) if reading["at_rest"]]
    grows = [median(steps[begin:end]) > MEMORY for begin, end in pairwise(ends)]
    stays = [_step(readings[begin], readings[end]) > MEMORY for begin, end in pairwise(ends[1:])]
    return all(grows) and all(stays)


def _step(before: Reading, after: Reading) -> int:
    grown, clients = int(after["memory"] - before["memory"]), int(after["vanished"] - before["vanished"])
    return round(grown / max(1, clients))
