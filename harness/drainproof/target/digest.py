"""What exactly was judged: a digest of the target that a certificate can name, and another machine can make again.

Of a container it is the image's. Anything else is known by its folder and its manifest: the folder's files by path and
content, the manifest as it was resolved (without secrets, and without the place where the folder lies). What comes and
goes by itself is left out, and git has no part in it: a folder that was copied has the same digest.

It stays cheap: a run must not begin with minutes of reading. Of files beyond a bound the size stands for the content,
and the digest says so in words (`of`); a folder with too many files is not gone through.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drainproof.recorder import TIMELINE
from drainproof.redaction import Redactor
from drainproof.target.description import Target

MOST_FILES = 50_000
LARGEST, MOST_BYTES = 16 << 20, 256 << 20
"""Bytes of one file, and of all files in the order of their paths, that are read."""

NOT_OURS = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".nox"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".drainproof"}
)
"""Folders that come and go without a change to the target."""

MARKS = ("pyvenv.cfg", ".drainproof")
"""A folder with one of these files is a virtual environment, or has reports of ours."""

Digest = Mapping[str, str]
"""`{"sha256": hexadecimal digits, "of": what it was made from, in words}`."""


@dataclass
class _Sum:
    """The digest while it is made."""

    sha256: Any = field(default_factory=hashlib.sha256)
    files: int = 0
    read: int = 0
    by_size: int = 0
    """Files of which the size stands for the content."""

    def add(self, *parts: str | bytes) -> None:
        """Each part with its length, so that no two different lists give the same bytes."""
        for part in parts:
            data = os.fsencode(part) if isinstance(part, str) else part
            self.sha256.update(b"%d:" % len(data) + data)


def of_folder(target: Target, redactor: Redactor) -> Digest:
    """The digest of a target that is started from its folder. What cannot be read is left out, and said."""
    made = _Sum()
    resolved = redactor.json(target.to_json())
    del resolved["name"]  # by default, that of the folder
    described = json.dumps(resolved, sort_keys=True)
    made.add("manifest", described.replace(json.dumps(str(target.folder))[1:-1], "."))
    paths = sorted(_files(target.folder))
    if len(paths) > MOST_FILES:
        return {"sha256": made.sha256.hexdigest(), "of": f"the manifest alone: the folder has over {MOST_FILES} files"}
    unreadable = 0
    for path in paths:
        try:
            _add_file(made, path, target.folder)
        except OSError:
            unreadable += 1
            made.add("unreadable", str(path.relative_to(target.folder)))
    of = f"the manifest as resolved and {made.files} files of the target folder"
    of += f"; {made.by_size} of them by their size alone" if made.by_size else ""
    of += f"; {unreadable} more could not be read" if unreadable else ""
    return {"sha256": made.sha256.hexdigest(), "of": of}


def _add_file(made: _Sum, path: Path, folder: Path) -> None:
    name, status = str(path.relative_to(folder)), path.lstat()
    if stat.S_ISLNK(status.st_mode):
        made.add("link", name, str(path.readlink()))
    elif not stat.S_ISREG(status.st_mode):
        return  # a socket or a pipe: made by what runs there
    elif status.st_size > LARGEST or made.read + status.st_size > MOST_BYTES:
        made.by_size += 1
        made.add("large", name, str(status.st_size))
    else:
        content = path.read_bytes()
        made.read += len(content)
        made.add("file", name, hashlib.sha256(content).digest())
    made.files += 1


def _files(folder: Path) -> Iterator[Path]:
    """Files and links in the folder, one more than there may be at most."""
    count = 0
    for root, folders, files in os.walk(folder):
        here = Path(root)
        if here != folder and any(mark in files for mark in MARKS):
            folders.clear()
            continue
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in NOT_OURS and name not in links)
        for name in [*files, *links]:
            if not name.endswith((".pyc", ".pyo")):
                yield here / name
                count += 1
                if count > MOST_FILES:
                    return


def of_image(launch: Mapping[str, Any]) -> Digest | None:
    """The digest of the image that the `launch` of a container tells of; None where it was no container."""
    repository, own = launch.get("digest"), launch.get("image_id")
    if repository and "@sha256:" in str(repository):
        return {"sha256": str(repository).rpartition(":")[2], "of": f"the image {repository}, as its registry has it"}
    if own and str(own).startswith("sha256:"):
        return {"sha256": str(own).rpartition(":")[2], "of": f"the image {launch.get('image')}, by its id"}
    return None


def of_evidence(folder: Path) -> Digest | None:
    """The digest of the image that the experiments in the evidence of a run were made with."""
    for path in sorted(folder.glob(f"*/{TIMELINE}")):
        try:
            with path.open(encoding="utf-8") as lines:
                events = (json.loads(line) for line in lines)
                launch: dict[str, Any] = next((event for event in events if event.get("event") == "launch"), {})
        except (OSError, ValueError, AttributeError):
            continue
        if (found := of_image(launch)) is not None:
            return found
    return None
