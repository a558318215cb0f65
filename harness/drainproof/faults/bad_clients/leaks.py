"""What a series of readings says about a leak. Pure.

A leak is growth that goes on as long as clients vanish. Growth by itself is none: a pool fills up, an allocator keeps
what was once needed, and Python's collector of cycles waits until a quarter of all objects is new. So the series comes
in blocks of rounds, and is continued while it looks like a leak:

* descriptors and threads leak where *every block* added more than `SPARE` of them. They are read at rest, at the end of
  a block, after time to close them;
* memory leaks where *every round* added more than `MEMORY` bytes for each client that vanished in it.

What this cannot see: a leak of less than `MEMORY` for each client. On servers that do not leak, up to 3.5 KiB were
measured for each client over thousands of clients until the collector came; see docs/explanation/bad-clients.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

SPARE = 8
"""Descriptors or threads that may have become more: connections of others that come and go while we look."""

MEMORY = 8192
"""Bytes for each client below which growth is not told from what allocators and collectors do."""

MOST = 4
"""A series that looks like a leak is continued to at most so many blocks."""

Reading = Mapping[str, Any]
"""`round` (0: the warm-up), `vanished` (clients so far), `at_rest`, `descriptors`, `threads`, `memory` (bytes)."""


def found(readings: Sequence[Reading]) -> dict[str, str]:
    """What leaks, with a phrase that says how: a subset of `descriptors`, `threads`, `memory`."""
    leaks = {}
    rest = [reading for reading in readings if reading["at_rest"]]
    for what in ("descriptors", "threads"):
        steps = [b[what] - a[what] for a, b in pairwise(rest)]
        if steps and min(steps) > SPARE:
            leaks[what] = f"{rest[0][what]} {what} became {rest[-1][what]}"
    steps = memory_steps(readings)
    if steps and min(steps) > MEMORY:
        first, last = readings[0], readings[-1]
        each = (last["memory"] - first["memory"]) / (last["vanished"] - first["vanished"])
        leaks["memory"] = f"{each / 1024:.1f} KiB of memory were kept for each of them"
    return leaks


def memory_steps(readings: Sequence[Reading]) -> list[int]:
    """Bytes of memory that each round added for each client that vanished in it."""
    return [round((b["memory"] - a["memory"]) / max(1, b["vanished"] - a["vanished"])) for a, b in pairwise(readings)]
