"""One malformed input as data, and what came of it: the lines of `bad-clients.jsonl`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from drainproof.errors import HarnessError
from drainproof.load.ledger import read_lines

FILE = "bad-clients.jsonl"
"""The name of the file in the evidence folder: one line for each case that was sent."""

TOKEN = "malformed"
"""Stands where the manifest's request has `{token}`: always the same, so that a seed gives the same bytes."""

Ending = Literal["answered", "closed", "reset", "unreadable", "hung", "refused"]
"""
`answered`: a complete HTTP answer came · `closed`, `reset`: the server ended the connection without a byte of one ·
`unreadable`: it ended it after something that is no complete HTTP answer · `hung`: nothing of that in time ·
`refused`: there was no connection.
"""

Ends = Literal["never", "late", "now"]
"""When the client ends its side of the connection: see `exchange`."""

PIECE = 65536


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a bad client sends. `parts` are pieces of bytes, each so many times, so that megabytes stay a short line."""

    kind: str
    """Its class: a key of `rules.RULES`."""
    parts: tuple[tuple[bytes, int], ...]
    ends: Ends

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(piece) * times for piece, times in self.parts)

    @property
    def has_token(self) -> bool:
        """Whether the token is in it, so that the right answer would be possible."""
        return any(TOKEN.encode() in piece for piece, _ in self.parts)

    def stream(self) -> Iterator[bytes]:
        """All bytes, in pieces that are not large."""
        for piece, times in self.parts:
            if not piece:
                continue  # an empty piece would look like the end
            most = max(1, PIECE // len(piece))
            for done in range(0, times, most):
                yield piece * min(most, times - done)

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        parts = [[base64.b64encode(piece).decode(), times] for piece, times in self.parts]
        return {"class": self.kind, "parts": parts, "ends": self.ends, "token": self.has_token}

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> Case:
        """Reads what `to_json` wrote; other keys of the line do not matter."""
        parts = tuple((base64.b64decode(piece), times) for piece, times in line["parts"])
        return cls(kind=line["class"], parts=parts, ends=line["ends"])

    def __str__(self) -> str:
        pieces = (repr(piece)[1:] + (f" * {times}" if times > 1 else "") for piece, times in self.parts)
        return f"{' + '.join(pieces)}{', then the end of the stream' if self.ends == 'now' else ''}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came back. Times are CLOCK_MONOTONIC seconds."""

    t0: float
    t: float
    ending: Ending
    status: int | None = None
    wrong: str | None = None
    """What is not right about an answer, by the manifest's request; None where there is none."""
    answer: bytes = b""
    """The beginning of what came back."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "t0": self.t0,
            "t": self.t,
            "outcome": self.ending,
            "status": self.status,
            "wrong": self.wrong,
            "answer": self.answer.decode("latin-1"),
        }


def read_cases(folder: Path) -> list[dict[str, Any]]:
    """The lines of `bad-clients.jsonl` in an evidence folder, in order. Raises HarnessError where it is damaged.

    Keys: those of `Case.to_json` and `Outcome.to_json` (`answer` only where the outcome is wrong), `case` (its number),
    `token` (whether the token is in it) and `counts` (false for the first of two looks at a doubtful outcome).
    """
    path = folder / FILE
    if not path.exists():
        raise HarnessError(f"{path} is missing")
    lines = list(read_lines(path))
    if not all({"case", "class", "parts", "ends", "outcome", "counts"} <= line.keys() for line in lines):
        raise HarnessError(f"{path} is damaged: it has lines that are no cases")
    return lines
