"""Reads a file that somebody else may have put there: a FIFO or a device in its place must not block the reader."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_bytes(path: Path) -> bytes:
    """The content of a regular file; symbolic links are followed.

    Raises OSError, also for whatever else is at `path`, and ValueError for a path that no file can have.
    """
    # A FIFO without a writer would block `open`, and one with a silent writer `read`.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        return file.read()


def read_text(path: Path) -> str:
    """The same as text (UTF-8). Raises UnicodeDecodeError, a ValueError, as well."""
    return read_bytes(path).decode("utf-8")
