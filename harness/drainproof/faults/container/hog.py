"""Takes memory, little by little, until the kernel has killed somebody for it: a process of its own, see `memory.py`.

    python -m drainproof.faults.container.hog COUNTS

It waits for a line with the most bytes to take. It ends as soon as the kernel's count of kills in the file COUNTS has
grown, and prints by how much; at that many bytes, or when its standard input ends, which it does with whoever started
it, it prints nothing.

The count, and not the end of the victim, is what it looks at: memory is free again before the victim has ended, and who
took it meanwhile would have the next one killed, who is innocent.
"""

from __future__ import annotations

import mmap
import os
import select
import sys

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
    most, before = int(line), kills(counts)
    memory = mmap.mmap(-1, most)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)  # a huge page is more than a step
    filling = b"\1" * STEP
    for offset in range(0, most - STEP + 1, STEP):
        memory[offset : offset + STEP] = filling
        if (more := kills(counts) - before) > 0:
            print(more, flush=True)  # noqa: T201 - that is what it is for
            return
        if _is_over():
            return


def _is_over() -> bool:
    """Whether standard input has ended: nothing else comes on it."""
    return bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


if __name__ == "__main__":
    main(sys.argv[1])
