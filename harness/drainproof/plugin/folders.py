"""The report folder, and the evidence in it.

    drainproof-report/
        .drainproof                      says that the folder is ours
        .gitignore                       only in a folder that drainproof has made
        results.json, junit.xml          of the newest run
        evidence/2026-11-20_15-40-11/    one folder per run; `--evidence` takes it (or the report folder: its newest)
            session.json                 the target, and the checks that were selected
            …                            one folder per experiment

Every run gets an evidence folder of its own, named by its time, and none is ever changed or removed by a later run:
paths that were printed stay true, two runs at the same time do not meet, and nobody's evidence is lost. The price is
that old evidence adds up until somebody removes it. Considered and lost: moving the older run away (breaks a run that
is still going on), and refusing a folder that was used before (makes the common case a nuisance).
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from drainproof.errors import UserError

MARKER = ".drainproof"
EVIDENCE = "evidence"
SESSION = "session.json"
FORMAT = 1
NEEDED = (EVIDENCE, "results.json", "junit.xml")
"""Names that we write to; somebody else's files of these names are never touched."""

MARKER_TEXT = "Written by drainproof. evidence/ has one folder per run; remove what you do not need.\n"
GITIGNORE_TEXT = "# Made by drainproof.\n*\n"


def prepare(folder: Path, *, option: str) -> None:
    """Makes `folder` a report folder. Raises UserError where it is not ours and holds files that we would overwrite."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{option}={folder}: this is a file; name a folder for the reports")
        made = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if made:
            (folder / ".gitignore").write_text(GITIGNORE_TEXT)
        elif not (folder / MARKER).exists() and not any((folder / EVIDENCE).glob("*/" + SESSION)):
            foreign = [name for name in NEEDED if (folder / name).exists()]
            if foreign:
                raise UserError(
                    f"{option}={folder}: holds {' and '.join(foreign)} that drainproof did not write. "
                    "Name another folder, such as one in it; nothing was changed."
                )
        if not (folder / MARKER).exists():
            (folder / MARKER).write_text(MARKER_TEXT)
    except OSError as error:
        raise UserError(f"{option}={folder}: cannot be written: {error.strerror}") from error


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


def write_session(folder: Path, *, target: dict[str, Any], checks: dict[str, list[str]]) -> None:
    """Saves what was selected: the names of the checks by scenario id."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "target": target, "checks": checks}, indent=1)
    (folder / SESSION).write_text(text + "\n", encoding="utf-8")


def read_session(folder: Path, *, option: str) -> dict[str, list[str]]:
    """The names of the checks by scenario id. Raises UserError for a damaged file."""
    try:
        content = json.loads((folder / SESSION).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise UserError(
                f"{option}={folder}: {SESSION} has format {content['format']!r}, this version reads {FORMAT}"
            )
        return {str(scenario): [str(name) for name in names] for scenario, names in content["checks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{option}={folder}: {SESSION} cannot be read: {error}") from error
