"""Reads a TOML file that a person has written: a syntax error is told with its line."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from drainproof.errors import UserError
from drainproof.hidden import REDACTED
from drainproof.redaction import without_secrets
from drainproof.secret_names import names_a_secret

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(file: Path, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """The document in `file`. Raises `error` for one that is not valid, OSError for one that cannot be read."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content.count(b"\n", 0, wrong.start) + 1
        raise error(f"{file}, line {line}: not UTF-8 (byte 0x{content[wrong.start]:02x})") from wrong
    return parse_toml(text, file=file, error=error)


def parse_toml(text: str, *, file: Path, error: type[UserError] = UserError) -> dict[str, Any]:
    """The document `text`, which stands in `file`. Raises `error` where it is not valid."""
    try:
        return tomllib.loads(text)
    except ValueError as wrong:  # TOMLDecodeError is one; so is an integer of too many digits
        raise error(_syntax(file, text, str(wrong))) from wrong


NAME = re.compile(r"[A-Za-z][\w.-]*")
VALUE = re.compile(r"(?<==)\s*[^\s=,{\[].*|[\"'].*", re.DOTALL)


def _without_values(line: str) -> str:
    """What stands before the first value of a line: where the values end, and whose they are, nobody knows by now."""
    return VALUE.sub(f" {REDACTED}", line, count=1)


def _syntax(file: Path, text: str, message: str) -> str:
    """A syntax error with the line it is in."""
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    if place is None:
        return f"{file}: not valid TOML: {message}"
    line, column = int(place[1]), int(place[2])
    lines = text.split("\n")
    shown = lines[line - 1].strip() if line <= len(lines) else ""
    shown = _without_values(shown) if any(map(names_a_secret, NAME.findall(shown))) else without_secrets(shown)
    return f"{file}, line {line}, column {column}: not valid TOML: {message[: place.start()]}\n  {shown}".rstrip()
