"""`results.json` read back: the verdicts of a run that is over."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from drainproof import plain_file
from drainproof.errors import UserError
from drainproof.verdict import Results

FILE = "results.json"
FORMAT = 1
"""Grows when something is taken away or changes its meaning; new keys do not change it."""

LONGEST, LONGEST_PATH = 255, 4000
"""Bytes of a name in a path, and of a path: what file systems take."""


class DamagedResults(UserError):
    """`results.json` is there, and is not what drainproof writes."""


class Saved(NamedTuple):
    """The results of a run."""

    results: Results
    folder: Path
    """The report folder that they lie in."""
    content: dict[str, Any]
    """As they stand in the file."""
    data: bytes
    """The file."""


def read(path: Path) -> Saved:
    """The results in the report folder `path`, or in this results.json.

    Raises UserError where there are none, and DamagedResults where they cannot be what a run has written.
    """
    file = path / FILE if path.is_dir() else path
    try:
        data = plain_file.read_bytes(file)
        text = data.decode("utf-8")
    except FileNotFoundError as error:
        what = f"there is no {FILE} in it" if path.is_dir() else "there is no such folder or file"
        raise UserError(f"{path}: {what}; expected a report folder of drainproof, or its {FILE}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedResults(f"{file} is damaged: it is no JSON: {error}") from error
    return Saved(_results(content, file), file.parent, content, data)


def _results(content: Any, file: Path) -> Results:
    import pydantic  # noqa: PLC0415 - takes its time, and not every command reads results

    if not isinstance(content, dict) or "format" not in content:
        raise DamagedResults(f"{file} is no {FILE} of drainproof: it has no format")
    if content["format"] != FORMAT:
        raise UserError(f"{file} has format {content['format']!r}, this version reads {FORMAT}")
    try:
        pydantic.TypeAdapter(Results).validate_python(content)
        results = Results.from_json(content)
        _require_sound(results)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedResults(f"{file} is damaged: {where}: {first['msg']}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DamagedResults(f"{file} is damaged: {type(error).__name__}: {error}") from error
    return results


def _require_sound(results: Results) -> None:
    """Raises ValueError for what has the right type, and no run would have written: others rely on these."""
    manifest, digest = results.target.get("manifest", {}), results.target.get("digest")
    if not isinstance(manifest, dict):
        raise ValueError("target.manifest is no object")
    if not isinstance(manifest.get("policy", {}), dict):
        raise ValueError("target.manifest.policy is no object")
    if digest is not None and not (
        isinstance(digest, dict) and all(isinstance(digest.get(name), str) for name in ("sha256", "of"))
    ):
        raise ValueError("target.digest has no sha256, or does not say of what")
    if results.bundle is not None:
        _require_relative(results.bundle.folder, "bundle.folder")
    for number, verdict in enumerate(results.verdicts):
        if verdict.evidence is not None:
            _require_relative(verdict.evidence, f"verdicts.{number}.evidence")


def _require_relative(path: str, name: str) -> None:
    """Raises ValueError for an absolute path, and for one that no file system takes.

    It may lead out of the report folder: where saved evidence was judged again, it stays where it is.
    """
    pure = PurePosixPath(path)
    if not path or pure.is_absolute():
        raise ValueError(f"{name} is not relative to the report folder: {path[:LONGEST]!r}")
    too_long = any(len(part.encode(errors="replace")) > LONGEST for part in pure.parts) or len(path) > LONGEST_PATH
    if "\0" in path or too_long:
        raise ValueError(f"{name} is no path that a run makes: {path[:LONGEST]!r}")
