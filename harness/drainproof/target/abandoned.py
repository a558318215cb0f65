"""Removes the TMPDIRs of targets that nobody answers for any more: pytest and keeper were killed in the same moment.

A keeper holds a lock (flock) on its target's TMPDIR from before the folder has its name until it is removed, and the
kernel releases it with the keeper, in whatever way that ends: a folder of that name that can be locked has no keeper.
Processes of the target may have survived it: as long as one lives that was born with this TMPDIR, the folder stays.

Considered and lost: a file with the keeper's pid in the folder (a target finds its TMPDIR empty, and pids are used
again), and the age of the folder (an experiment may take hours).
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from drainproof.target.folder import remove_folder

NAME = re.compile(r"dp-[0-9a-f]{12}")
"""How `process.fresh_tmp` names them."""


def remove_abandoned() -> list[Path]:
    """Removes what earlier sessions of this user left in the folder for temporary files; returns what it was."""
    parent = Path(tempfile.gettempdir())
    try:
        found = [path for path in parent.iterdir() if NAME.fullmatch(path.name)]
    except OSError:
        return []
    return [path for path in found if _remove(path)]


def _remove(path: Path) -> bool:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # gone, not ours to read, or something else of that name
        return False
    try:
        if os.fstat(folder).st_uid != os.geteuid():
            return False
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _in_use(path):
            return False
        remove_folder(str(path))
    except OSError:  # its keeper lives, or the file system has no locks
        return False
    finally:
        os.close(folder)
    return True


def _in_use(path: Path) -> bool:
    """Whether a process was born with this TMPDIR."""
    needle = b"TMPDIR=" + os.fsencode(path)
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if needle in (process / "environ").read_bytes().split(b"\0"):
                    return True
    return False
