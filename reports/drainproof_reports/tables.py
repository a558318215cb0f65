"""Text of a target in Markdown, where it must neither end a table cell nor become markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from drainproof.text import flat

MARKUP = re.compile(r"([\\`*_\[\]|~#!<>&@])")


def cell(text: str) -> str:
    """`text` on one line, every character of it shown as it is."""
    return MARKUP.sub(lambda found: html.escape(found[1]) if found[1] in "<>&" else "\\" + found[1], flat(text))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; the cells are Markdown already."""
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
