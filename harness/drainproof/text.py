"""Text and values from a target, made fit for a terminal and for JSON. What a target prints may hold anything."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""A terminal's escape sequence: CSI (colours, cursor), OSC (titles, links), and the short ones."""

UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\ufffe\uffff\U000e0000-\U000e007f]"
)
"""Characters that move the cursor, turn the direction of writing, end lines behind our back, are not seen at all and so
hide a text or make two names look alike, or are no characters."""

MAX_DEPTH = 20
"""Levels of nesting that `json_value` follows before it writes the rest as text."""


class Line(NamedTuple):
    """One line for the terminal."""

    text: str
    style: str = ""
    """Names that pytest's terminal writer knows, separated by blanks: `red bold`."""


def printable(text: str) -> str:
    """`text` without escape sequences, and with every other control character in its visible form (`\\x07`).

    Line ends (`\\n`, `\\r\\n`) stay line ends, a tab becomes blanks.
    """
    text = ESCAPE_SEQUENCE.sub("", text.replace("\r\n", "\n"))
    return UNPRINTABLE.sub(_escaped, text).replace("\t", "    ")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def flat(text: str) -> str:
    """`text` as printable text on one line, not shortened."""
    return " ".join(part for part in printable(text).split("\n") if part)


def shortened(text: str, width: int) -> str:
    """The first line of `text`, cut to `width` columns; the cut is marked by an ellipsis."""
    first, _, rest = printable(text).strip().partition("\n")
    if rest or len(first) > width:
        return first[: max(width - 1, 0)].rstrip() + "…"
    return first


def json_value(value: object, depth: int = 0) -> Any:
    """`value` as JSON holds it, whatever it is: no infinities, no lone surrogates, everything unknown as its text.

    Numbers become plain ones: what carries them between processes takes exact types alone.
    """
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return _plain(value)
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {json_value(str(key)): json_value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [json_value(item, depth + 1) for item in value]
        if isinstance(value, (set, frozenset)):
            return sorted((json_value(item, depth + 1) for item in value), key=repr)
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(value: float | None) -> float | None:
    if value is None or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)
