"""Process trees as /proc shows them: who descends from whom, and how to end them all.

Only the standard library, and no dataclasses: the keeper imports this, and its start is part of every launch.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

MARKER = "DRAINPROOF_INSTANCE"
"""The environment variable that every process of an instance is born with."""


class Stat(NamedTuple):
    """What /proc/<pid>/stat says of a process at one moment."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    threads: int
    birth: int
    """Clock ticks since boot; with the pid it names a process for ever."""

    @property
    def alive(self) -> bool:
        """Not a zombie. A process whose first thread alone has ended shows as `Z` too, and lives on in the others."""
        return self.state not in "ZX" or self.threads > 1


def read_stat(pid: int) -> Stat | None:
    """The process `pid`; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (pathlib costs start-up time in the keeper)
            raw = file.read()
    except OSError:
        return None
    # The name is in parentheses and may itself hold blanks and parentheses.
    opening, closing = raw.index(b"("), raw.rindex(b")")
    rest = raw[closing + 2 :].split()
    return Stat(
        pid=pid,
        name=raw[opening + 1 : closing].decode("utf-8", "replace"),
        state=rest[0].decode(),
        parent=int(rest[1]),
        group=int(rest[2]),
        session=int(rest[3]),
        threads=int(rest[17]),
        birth=int(rest[19]),
    )


def all_processes() -> dict[int, Stat]:
    """Every process of this machine that we may see, by pid."""
    found = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit() and (stat := read_stat(int(entry))) is not None:
            found[stat.pid] = stat
    return found


def descendants(root: int) -> list[Stat]:
    """Children of `root`, their children and so on, parents first; zombies included, `root` itself not."""
    table = all_processes()
    # The table is not one moment's picture: where a parent ended while we read, its child was adopted by somebody else.
    for pid, stat in list(table.items()):
        if stat.parent and stat.parent not in table:
            again = read_stat(pid)
            if again is None:
                del table[pid]
            else:
                table[pid] = again
    return below(root, table)


def below(root: int, table: dict[int, Stat]) -> list[Stat]:
    """The descendants of `root` as this table of processes shows them, parents first."""
    children: dict[int, list[Stat]] = {}
    for stat in table.values():
        children.setdefault(stat.parent, []).append(stat)
    found: list[Stat] = []
    waiting = [root]
    while waiting:
        next_ones = children.pop(waiting.pop(0), [])
        found.extend(next_ones)
        waiting.extend(stat.pid for stat in next_ones)
    return found


def children(pid: int) -> list[int]:
    """The pids of the children of `pid`, zombies included; empty where there is no such process.

    Much cheaper than `descendants`, since nothing is read but the process itself.
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                found.extend(map(int, file.read().split()))
    except FileNotFoundError as error:
        if not _KNOWS_CHILDREN:
            return [stat.pid for stat in all_processes().values() if stat.parent == pid]
        if str(error.filename).endswith("children"):  # one thread has just ended: the others are still to be asked
            return children(pid)
    except OSError:
        pass
    return found


_KNOWS_CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # noqa: PTH110
"""Kernels without CONFIG_PROC_CHILDREN do not."""


def signal_below(root: int, signum: int) -> set[int]:
    """Sends a signal to every descendant of `root` as it is found, parents before their children; returns the pids.

    Each process gets the signal before its children are read: once it is stopped, that list does not grow any more.
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        for pid in children(waiting.pop()):
            if pid not in seen:
                seen.add(pid)
                kill([pid], signum)
                waiting.append(pid)
    return seen


def freeze(root: int, *, until: float) -> list[Stat]:
    """Stops every descendant of `root`, for as long as it takes, but not beyond that moment; returns who they are.

    Why stop before killing: a stopped process forks no more, and keeps its place in the limits that hold a fork bomb
    down, while a dead one makes room for the next. And why stop while looking: a list of everybody first, then a
    signal to each, was tried, and starved for 10 s among 500 processes that fork and leave their session, since each
    look took longer than they need to change.
    """
    before: set[int] | None = None
    while True:
        seen = signal_below(root, signal.SIGSTOP)
        if seen == before or monotonic() > until:
            return [stat for pid in seen if (stat := read_stat(pid)) is not None]
        before = seen


def marked(instance: str) -> list[Stat]:
    """Living processes that were born with this instance's marker in their environment."""
    needle = f"{MARKER}={instance}".encode()
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:  # noqa: PTH123
                environment = file.read()
        except OSError:
            continue
        if needle in environment.split(b"\0") and (stat := read_stat(int(entry))) is not None and stat.alive:
            found.append(stat)
    return found


def kill(pids: list[int], signum: int) -> None:
    """Sends the signal to each of them; those that are gone, or not ours, are left alone."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signum)


def kill_groups(stats: list[Stat]) -> None:
    """SIGKILL to every process group among them, our own excepted.

    The kernel does it under the lock that forking takes as well, so no member slips away by forking: this is what
    ends a fork bomb. A group that a descendant of ours is in holds nothing else, since groups cannot reach across
    sessions and the target was given a session of its own.
    """
    for group in {stat.group for stat in stats} - {os.getpgrp(), 0}:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


SHARED_MEMORY = "/dev/shm/"


def shared_memory_names() -> set[str]:
    """What there is in /dev/shm: files and folders."""
    try:
        return set(os.listdir(SHARED_MEMORY))  # noqa: PTH208
    except OSError:
        return set()


def segment_name(path: str) -> str:
    """The name that `shared_memory_names` has for it."""
    return path.removeprefix(SHARED_MEMORY).split("/")[0]


def shared_memory(pid: int) -> set[str]:
    """Paths of the files below /dev/shm that the process has mapped or open, named semaphores among them."""
    from drainproof.probes import holdings  # noqa: PLC0415 - only needed at the end, and the keeper starts faster

    held = holdings.of_process(pid=pid).shared_memory
    if not held:
        return set()
    return {SHARED_MEMORY + name for inode, name in holdings.shared_memory().items() if inode in held}


def unlink_segments(paths: set[str], *, but: set[str]) -> None:
    """Unlinks these files of /dev/shm, except those whose name is in `but`: they were there before."""
    for path in paths:
        if segment_name(path) not in but:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
