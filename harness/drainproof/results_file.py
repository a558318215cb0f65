"""Reads the results of an earlier run back."""

from __future__ import annotations

import json
from pathlib import Path

from drainproof.errors import UserError
from drainproof.verdict import Results

FILE = "results.json"
FORMAT = 1
"""The format of the file that is read here; later keys in it are left out."""


def results_file(path: Path) -> Path:
    """The file that `path` means: itself, or the results of a report folder."""
    return path / FILE if path.is_dir() else path


def read_results(path: Path) -> Results:
    """The results in a `results.json`, or in a report folder. Raises UserError, whose text begins with the file."""
    file = results_file(path)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise UserError(f"{file}: has format {content['format']!r}, this version reads {FORMAT}")
        return Results.from_json(content)
    except OSError as error:
        hint = f"; expected a {FILE} of drainproof, or a report folder with one"
        raise UserError(f"{file}: {error.strerror or error}{hint}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{file}: is not a {FILE} of drainproof, or is damaged: {said}") from error
