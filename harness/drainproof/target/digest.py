"""What exactly was judged: a digest of the target that a certificate can name, and another machine can make again.

Of a container it is the image's. Anything else is known by its folder and its manifest: the folder's files by path and
content, the manifest as it was resolved (without the secrets that it declares, and with paths as seen from the folder).
What comes and goes by itself is left out, and git has no part in it: a folder that was copied has the same digest.
That one file makes a folder a virtual environment, or ours, would be a way to hide the rest of it. So such a folder
must have more of what makes it one, and is named.

It stays cheap: a run must not begin with minutes of reading. Of files beyond a bound the size stands for the content,
and the digest says so in words (`of`); a folder with too many files is not gone through.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drainproof import report_names
from drainproof.recorder import TIMELINE
from drainproof.redaction import Redactor
from drainproof.target.description import Target

MOST_FILES = 50_000
LARGEST, MOST_BYTES = 16 << 20, 256 << 20
"""Bytes of one file, and of all files in the order of their paths, that are read."""

NOT_OURS = frozenset(
    {".git", ".hg", ".svn", "__pycache__", "node_modules", ".tox", ".nox"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}
)
"""Folders that come and go without a change to the target."""

PATHS = frozenset({"folder", "manifest", "working_directory", "build", "folders", "unit"})
"""Keys of a resolved manifest whose values are absolute paths."""

OURS = frozenset({report_names.MARKER, *report_names.REPORTS})
"""Files that are our own in a folder that somebody has made and we write reports to (`--report-dir=.`)."""

MOST_NAMED = 5
"""Folders that were left out which `of` names."""

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


def of_folder(target: Target) -> Digest:
    """The digest of a target that is started from its folder. What cannot be read is left out, and said."""
    made, folder = _Sum(), target.folder
    resolved = Redactor.of(target, environment={}).json(target.to_json())  # not by what this machine has for secrets
    del resolved["name"]  # by default, that of the folder
    made.add("manifest", json.dumps(_seen_from(folder, resolved), sort_keys=True))
    walk = _Walk(folder)
    paths = sorted(walk.files())
    if len(paths) > MOST_FILES:
        return {"sha256": made.sha256.hexdigest(), "of": f"the manifest alone: the folder has over {MOST_FILES} files"}
    unreadable = sorted(walk.unreadable)
    for path in paths:
        try:
            _add_file(made, path, folder)
        except OSError:
            unreadable.append(str(path.relative_to(folder)))
    made.add(*(part for name in unreadable for part in ("unreadable", name)))
    of = f"the manifest as resolved and {made.files} files of the target folder"
    of += f"; {made.by_size} of them by their size alone" if made.by_size else ""
    of += f"; {len(unreadable)} more could not be read" if unreadable else ""
    if walk.left_out:
        named, more = sorted(walk.left_out)[:MOST_NAMED], len(walk.left_out) - MOST_NAMED
        of += f"; without {', '.join(named)}" + (f" and {more} more such folders" if more > 0 else "")
    return {"sha256": made.sha256.hexdigest(), "of": of}


def _seen_from(folder: Path, value: Any, key: str = "") -> Any:
    """A resolved manifest with its paths relative to the folder: where that lies says nothing of the target."""
    if isinstance(value, Mapping):
        named = key not in ("environment", "headers")
        return {name: _seen_from(folder, each, name if named else "") for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_seen_from(folder, each, key) for each in value]
    if not isinstance(value, str):
        return value
    if key in PATHS and value.startswith("/"):
        return os.path.relpath(value, folder)
    return "." if value == str(folder) else value.replace(f"{folder}/", "./")


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


class _Walk:
    """Goes through a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unreadable: list[str] = []
        """Folders, relative."""
        self.left_out: list[str] = []
        """Folders that are no part of the target by what is in them, each with what it is."""

    def files(self) -> Iterator[Path]:
        """Files and links, one more than there may be at most."""
        count = 0
        for root, folders, files in os.walk(self._folder, onerror=self._cannot_be_read):
            here = Path(root)
            what = None if here == self._folder else _left_out(here, files)
            if what is not None:
                self.left_out.append(f"{here.relative_to(self._folder)} ({what})")
                folders.clear()
                continue
            links = [name for name in folders if (here / name).is_symlink()]
            folders[:] = sorted(name for name in folders if name not in NOT_OURS and name not in links)
            ours = _has_our_reports(here, files)
            if here.name == report_names.EVIDENCE and _has_our_reports(here.parent):
                folders[:] = [name for name in folders if not report_names.RUN.fullmatch(name)]
            for name in [*files, *links]:
                if not name.endswith((".pyc", ".pyo")) and not (ours and name in OURS):
                    yield here / name
                    count += 1
                    if count > MOST_FILES:
                        return

    def _cannot_be_read(self, error: OSError) -> None:
        self.unreadable.append(os.path.relpath(str(error.filename), self._folder))


def _left_out(folder: Path, files: Collection[str]) -> str | None:
    """What the folder is, if it is no part of the target."""
    if "pyvenv.cfg" in files and os.path.lexists(folder / "bin" / "python"):
        return "a virtual environment"
    made_by_us = _has_text(folder / report_names.GITIGNORE, report_names.GITIGNORE_TEXT)
    if made_by_us and _has_our_reports(folder, files) and (folder / report_names.EVIDENCE).is_dir():
        return "reports of drainproof"
    return None


def _has_our_reports(folder: Path, files: Collection[str] = (report_names.MARKER,)) -> bool:
    return report_names.MARKER in files and _has_text(folder / report_names.MARKER, report_names.MARKER_TEXT)


def _has_text(file: Path, text: str) -> bool:
    try:
        with file.open("rb") as content:
            return content.read(len(text) + 1) == text.encode()
    except OSError:
        return False


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
