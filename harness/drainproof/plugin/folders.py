"""The report folder, and the evidence in it.

    drainproof-report/
        .drainproof                      says that the folder is ours; locked (flock) by the run that writes to it
        .gitignore                       only in a folder that drainproof has made
        results.json, junit.xml,         of the newest run; the last one only when it is over
        certificate.html
        evidence/2026-11-20_15-40-11/    one folder per run; `--evidence` takes it (or the report folder: its newest)
            session.json                 the target, the selected checks and their packages, how many were not selected
            digests.json                 the SHA-256 of each other file; written when the session ends
            …                            one folder per experiment

Every run gets an evidence folder of its own, named by its time, and none is ever changed or removed by a later run:
paths that were printed stay true, and nobody's evidence is lost. The price is that old evidence adds up until somebody
removes it. Considered and lost: moving the older run away, and refusing a folder that was used before (makes the common
case a nuisance).

The reports are those of the newest run, whatever became of it: those of the run before are removed when a run begins,
before anything can end it. Two runs at the same time would overwrite each other's, so the second one is refused. The
kernel releases the lock when its holder ends, in whatever way. Considered and lost: a file with a pid (outlives a run
that is killed), and results.json under another name for the second run (nobody would look for it).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drainproof.errors import UserError
from drainproof.report_names import EVIDENCE, GITIGNORE, GITIGNORE_TEXT, MARKER, MARKER_TEXT, NEEDED, REPORTS, SESSION

CheckKey = tuple[str, str]
"""A check: the id of its scenario, and its name in it."""

FORMAT = 1


class ReportFolder:
    """The report folder of this run. `option` is the name of the option that chooses it."""

    def __init__(self, folder: Path, *, option: str) -> None:
        self._folder = folder
        self._option = option
        self._lock = -1

    def begin(self) -> None:
        """Takes a folder that is ours already, and removes the reports of the run before. Raises UserError.

        A folder that is not there yet is not made: the run may still turn out not to be possible.
        """
        folder = self._folder
        if (folder / MARKER).exists():
            self._take()
            for name in REPORTS:
                try:
                    (folder / name).unlink(missing_ok=True)
                except OSError as error:
                    raise self._error(f"{name} of an earlier run cannot be removed: {error.strerror}") from error

    def prepare(self) -> None:
        """Makes the folder a report folder, and takes it.

        Raises UserError where it is another run's, or where it is not ours and holds files that we would overwrite.
        """
        folder = self._folder
        try:
            if folder.exists() and not folder.is_dir():
                raise self._error("this is a file; name a folder for the reports")
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            if made:
                (folder / GITIGNORE).write_text(GITIGNORE_TEXT)
            elif not self._is_ours():
                foreign = [name for name in NEEDED if (folder / name).exists()]
                if foreign:
                    raise self._error(
                        f"holds {' and '.join(foreign)} that drainproof did not write. "
                        "Name another folder, such as one in it; nothing was changed."
                    )
            if not (folder / MARKER).exists():
                (folder / MARKER).write_text(MARKER_TEXT)
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}") from error
        if self._lock < 0:
            self.begin()

    def prepare_again(self, *, force: bool) -> None:
        """Takes a folder that a run has written, and keeps its reports. Raises UserError.

        A copy of it may have lost the hidden file that says that it is ours (artifacts of CI systems do); the evidence
        says so as well. Without both, files that would be written over are somebody else's, but with `force`.
        """
        try:
            if not force and not self._is_ours():
                foreign = [name for name in REPORTS if name != "results.json" and (self._folder / name).exists()]
                if foreign:
                    raise self._error(
                        f"holds {' and '.join(foreign)}, and nothing shows that drainproof wrote them (no {MARKER}, no "
                        f"{EVIDENCE}/). Copy results.json to a folder of its own, or write over them by --force; "
                        "nothing was changed."
                    )
            if not (self._folder / MARKER).exists():
                (self._folder / MARKER).write_text(MARKER_TEXT)
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}") from error
        self._take()

    def _is_ours(self) -> bool:
        """Whether a run has written to the folder."""
        return (self._folder / MARKER).exists() or any((self._folder / EVIDENCE).glob("*/" + SESSION))

    def release(self) -> None:
        """Lets the next run have the folder. Idempotent."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def _take(self) -> None:
        try:
            self._lock = os.open(self._folder / MARKER, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                self.release()
                raise self._error(
                    f"another run writes its reports to this folder now. Wait for its end, or name another folder by "
                    f"{self._option}=DIR; nothing was changed."
                ) from error
            if self._lock < 0:
                raise self._error(f"cannot be read: {error.strerror}") from error
            # else a file system without locks: then whoever runs twice at once has to know

    def _error(self, text: str) -> UserError:
        return UserError(f"{self._option}={self._folder}: {text}")


def new_evidence_folder(folder: Path, *, option: str) -> Path:
    """Makes a folder for the evidence of this run. Raises UserError where that cannot be done."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        mine = folder / EVIDENCE / (stamp if number == 1 else f"{stamp}_{number}")
        try:
            mine.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UserError(f"{option}={folder}: cannot be written: {error.strerror}") from error
        else:
            return mine


def discard_if_empty(folder: Path) -> None:
    """Removes an evidence folder that nothing was written to."""
    try:
        folder.rmdir()
    except OSError:
        return


def find_evidence(folder: Path, *, option: str) -> Path:
    """The evidence of one run in `folder`: itself, or the newest in a report folder. Raises UserError."""
    if (folder / SESSION).is_file():
        return folder
    runs = sorted(path.parent for path in (folder / EVIDENCE).glob("*/" + SESSION))
    if runs:
        return runs[-1]
    why = "there is no such folder" if not folder.is_dir() else f"there is no {SESSION} in it, nor in {EVIDENCE}/*/"
    raise UserError(f"{option}={folder}: {why}; expected a report folder of drainproof, or one run in its {EVIDENCE}/")


@dataclass(frozen=True, kw_only=True)
class SavedSession:
    """What was selected in a run, and of what."""

    checks: Mapping[str, Sequence[str]]
    """By scenario id, the names of its checks."""
    deselected: int = 0
    """How many checks the selection left out."""
    repeat: int = 1
    """How often each scenario was run."""
    digest: Mapping[str, str] | None = None
    """What the target is known by; None where that was not saved."""
    packages: Sequence[Mapping[str, str]] = ()
    """Name, module and distribution of each package that scenarios were collected from."""

    @property
    def keys(self) -> frozenset[CheckKey]:
        """All checks that were selected."""
        return frozenset((scenario, name) for scenario, names in self.checks.items() for name in names)


def write_session(folder: Path, saved: SavedSession, *, target: dict[str, Any]) -> None:
    """Saves what was selected."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "target": target, **asdict(saved)}, indent=1)
    (folder / SESSION).write_text(text + "\n", encoding="utf-8")


def read_session(folder: Path, *, option: str) -> SavedSession:
    """What was selected in the run whose evidence is in `folder`. Raises UserError for a damaged file."""
    try:
        content = json.loads((folder / SESSION).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise UserError(
                f"{option}={folder}: {SESSION} has format {content['format']!r}, this version reads {FORMAT}"
            )
        digest = content.get("digest")
        return SavedSession(
            checks={str(scenario): [str(name) for name in names] for scenario, names in content["checks"].items()},
            deselected=int(content.get("deselected", 0)),
            repeat=int(content.get("repeat", 1)),
            digest=None if digest is None else {"sha256": str(digest["sha256"]), "of": str(digest["of"])},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{option}={folder}: {SESSION} cannot be read: {error}") from error
