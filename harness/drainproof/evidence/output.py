"""What the target printed, and what of it is debris."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from drainproof.probes.debris import Debris, find_debris


class Output:
    """The lines of both streams in the order of their arrival, with the time of it."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self.lines = tuple(lines)

    @cached_property
    def debris(self) -> tuple[Debris, ...]:
        """asyncio's signatures of an unclean end."""
        return tuple(find_debris(self.lines))

    def texts(self, stream: str | None = None) -> list[str]:
        """The text of all lines (of `stream`), in order."""
        return [line["text"] for line in self.lines if "text" in line and stream in (None, line["stream"])]

    def matching(self, pattern: str) -> list[str]:
        """The lines in which the regular expression `pattern` matches somewhere, whatever the case."""
        compiled = re.compile(pattern, re.IGNORECASE)
        return [text for text in self.texts() if compiled.search(text)]

    def tail(self, count: int = 10, *, until: float = float("inf")) -> list[str]:
        """The last lines that had arrived at the moment `until`."""
        return [line["text"] for line in self.lines if "text" in line and line["t"] <= until][-count:]

    @property
    def dropped_lines(self) -> int:
        """Lines in the middle of a flood that were read but not kept."""
        return sum(int(line.get("dropped_lines", 0)) for line in self.lines)
