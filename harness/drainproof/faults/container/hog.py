"""Takes memory, little by little, until the kernel has killed somebody for it: a process of its own, see `memory.py`.

    python -m drainproof.faults.container.hog COUNTS

It waits for a line with the most bytes to take. It ends as soon as the kernel's count of kills in the file COUNTS has
grown, and prints by how much; at that many bytes, or when its standard input ends, which it does with whoever started
it, it prints nothing.

The count, and not the end of the victim, is what it looks at: memory is free again before the victim has ended, and who
took it meanwhile would have the next one killed, who is innocent.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

STEP = 256 * 1024
"""Bytes that it takes between two looks: far less than the death of a server sets free."""


def kills(counts: str) -> int:
    """How many processes of a control group the kernel has killed for want of memory. Raises OSError.

    In version 1 among the lines of `memory.oom_control`, in version 2 of `memory.events`.
    """
    with open(counts) as file:  # noqa: PTH123 - nothing but the cheapest, between two steps
        for line in file:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    raise OSError(f"{counts} has no count of kills")


def main(counts: str) -> None:
    """Waits, takes, and ends."""
    line = sys.stdin.readline()
    if not line.strip():
        return
    killed = take(most=int(line), count=lambda: kills(counts), is_over=_is_over)
    if killed:
        print(killed, flush=True)  # noqa: T201 - that is what it is for


def take(*, most: int, count: Callable[[], int], is_over: Callable[[], bool]) -> int:
    """Takes up to `most` bytes, until it is over or `count` has grown; by how much it has."""
    before = count()
    taken: list[bytes] = []
    while len(taken) < most // STEP and not is_over():
        taken.append(b"\1" * STEP)  # written to, or the kernel would not give it yet
        if (more := count() - before) > 0:
            return more
    return 0


def _is_over() -> bool:
    """Whether standard input has ended: nothing else comes on it."""
    return bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


if __name__ == "__main__":
    main(sys.argv[1])
