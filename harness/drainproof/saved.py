"""`results.json` read back: the verdicts of a run that is over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from drainproof.errors import UserError
from drainproof.verdict import Results

FILE = "results.json"
FORMAT = 1
"""Grows when something is taken away or changes its meaning; new keys do not change it."""


class DamagedResults(UserError):
    """`results.json` is there, and is not what drainproof writes."""


class Saved(NamedTuple):
    """The results of a run."""

    results: Results
    folder: Path
    """The report folder that they lie in."""
    content: dict[str, Any]
    """As they stand in the file."""


def read(path: Path) -> Saved:
    """The results in the report folder `path`, or in this results.json.

    Raises UserError where there are none, and DamagedResults where they cannot be what a run has written.
    """
    file = path / FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        what = f"there is no {FILE} in it" if path.is_dir() else "there is no such folder or file"
        raise UserError(f"{path}: {what}; expected a report folder of drainproof, or its {FILE}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedResults(f"{file} is damaged: it is no JSON: {error}") from error
    return Saved(_results(content, file), file.parent, content)


def _results(content: Any, file: Path) -> Results:
    import pydantic  # noqa: PLC0415 - takes its time, and not every command reads results

    if not isinstance(content, dict) or "format" not in content:
        raise DamagedResults(f"{file} is no {FILE} of drainproof: it has no format")
    if content["format"] != FORMAT:
        raise UserError(f"{file} has format {content['format']!r}, this version reads {FORMAT}")
    try:
        pydantic.TypeAdapter(Results).validate_python(content)
        results = Results.from_json(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DamagedResults(f"{file} is damaged: {where}: {first['msg']}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedResults(f"{file} is damaged: {type(error).__name__}: {error}") from error
    return results
