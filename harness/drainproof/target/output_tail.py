"""Reads the end of an `output.jsonl`, and makes lines of a target fit for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

_REACH = 512 * 1024
_WIDTH = 400


def last_lines(path: Path, lines: int) -> list[str]:
    """The last `lines` lines of the output. Pieces of long lines count as lines. Empty where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _REACH))
            raw = file.read().split(b"\n")
    except OSError:
        return []
    found = []
    for record in raw:
        try:
            value = json.loads(record)
        except ValueError:
            continue  # the first one was cut by our reach, the last one by a crash
        if isinstance(value, dict) and "text" in value:
            found.append(str(value["text"]))
    return found[-lines:] if lines > 0 else []


def printable(lines: list[str]) -> str:
    """Joins lines; control characters and bytes that were no text are shown as escapes, long lines are cut."""
    return "\n".join(_printable(line) for line in lines)


def _printable(line: str) -> str:
    line = line.rstrip("\r")
    if len(line) > _WIDTH:
        line = line[:_WIDTH] + f"… ({len(line) - _WIDTH} characters more)"
    return "".join(c if c.isprintable() or c == "\t" else _escaped(c) for c in line)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that was no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
