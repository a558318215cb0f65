"""A small `msvcrt`: what programs use where they lock a file or read a key."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
from types import ModuleType

LK_UNLCK, LK_LOCK, LK_NBLCK, LK_RLCK, LK_NBRLCK = range(5)


@functools.lru_cache(maxsize=1)
def msvcrt() -> ModuleType:
    """The module."""
    module = ModuleType("msvcrt")
    for name, value in globals().items():
        if name.startswith("LK_") or name in ("locking", "setmode", "get_osfhandle", "open_osfhandle", "kbhit"):
            setattr(module, name, value)
    return module


def locking(fd: int, mode: int, nbytes: int) -> None:
    """Locks `nbytes` bytes from the current position on."""
    how = {LK_UNLCK: fcntl.LOCK_UN, LK_LOCK: fcntl.LOCK_EX, LK_RLCK: fcntl.LOCK_EX}.get(
        mode, fcntl.LOCK_EX | fcntl.LOCK_NB
    )
    try:
        fcntl.lockf(fd, how, nbytes, os.lseek(fd, 0, os.SEEK_CUR))
    except OSError as error:
        raise PermissionError(errno.EACCES, "Permission denied") from error


def setmode(fd: int, flags: int) -> int:
    """Text and binary mode are one here."""
    return flags


def get_osfhandle(fd: int) -> int:
    """The handle is the descriptor."""
    os.fstat(fd)
    return fd


def open_osfhandle(handle: int, flags: int) -> int:
    """The descriptor is the handle."""
    return handle


def kbhit() -> bool:
    """Nobody presses a key."""
    return False
