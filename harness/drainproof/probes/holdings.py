"""What processes hold that can outlive them: shared memory, named semaphores, bound Unix sockets.

Shared memory is recognised by its inode and never by its path: glibc makes a semaphore under a random name, maps it,
and links it to its real name afterwards, so in the memory map of the process that made it, it stands under a name that
has been deleted. (What multiprocessing makes in a `fork` context is unlinked at once; in a `spawn` or `forkserver`
context it stays in /dev/shm until its owner's exit, or until the resource tracker has noticed that.)
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_PREFIX = f"{SHARED_MEMORY}/"
_MOST_ENTRIES = 10_000

_UNIX_ROW = re.compile(rb"^[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ ([0-9A-F]+) [0-9A-F]+ ([0-9A-F]+) +(\d+) ([^@].*)$")
"""Flags, state, inode and path; abstract sockets (`@…`) are left out: nothing of them can be left."""
_LISTENS = b"00010000"
_CONNECTED = b"03"


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Inodes that one process holds."""

    sockets: frozenset[int]
    shared_memory: frozenset[int]


def shared_memory() -> dict[int, str]:
    """The files below /dev/shm (semaphores are among them): inode → path relative to it."""
    found: dict[int, str] = {}
    folders = [str(SHARED_MEMORY)]
    while folders and len(found) < _MOST_ENTRIES:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    found[entry.inode()] = entry.path.removeprefix(_PREFIX)
    return found


def unix_sockets() -> dict[int, str]:
    """The Unix sockets that were bound to a path: inode → path as it was given to bind(), which may be relative.

    Accepted connections carry the path of their listener; they are left out while it listens.
    """
    try:
        table = Path("/proc/net/unix").read_bytes()
    except OSError:
        return {}
    rows = [row.groups() for line in table.splitlines() if (row := _UNIX_ROW.match(line))]
    listening = {path for flags, _, _, path in rows if flags == _LISTENS}
    return {
        int(inode): os.fsdecode(path)
        for flags, state, inode, path in rows
        if flags == _LISTENS or state != _CONNECTED or path not in listening
    }


def of_process(*, pid: int, memory: bool = True) -> Holdings:
    """What a process holds; nothing if it is gone or we may not look. `memory=False` leaves the shared memory out."""
    sockets, inodes = set(), set()
    folder = f"/proc/{pid}/fd"
    device = _device()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - Paths would cost more than the look itself
            with contextlib.suppress(OSError):
                link = os.readlink(f"{folder}/{name}")  # noqa: PTH115
                if link.startswith("socket:["):
                    sockets.add(int(link[8:-1]))
                elif memory and link.startswith(_PREFIX):
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116
                    if status.st_dev == device:
                        inodes.add(status.st_ino)
    if memory:
        inodes |= _mapped(pid, device)
    return Holdings(sockets=frozenset(sockets), shared_memory=frozenset(inodes))


def _mapped(pid: int, device: int | None) -> set[int]:
    """The inodes below /dev/shm in the memory map of a process. Another container's /dev/shm is another device."""
    found = set()
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
            if _PREFIX.encode() in line:
                columns = line.split(None, 5)
                major, _, minor = columns[3].partition(b":")
                if os.makedev(int(major, 16), int(minor, 16)) == device:
                    found.add(int(columns[4]))
    return found


def _device() -> int | None:
    try:
        return SHARED_MEMORY.stat().st_dev
    except OSError:
        return None
