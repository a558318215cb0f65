"""Debris of asyncio in a target's output: the signatures of work that was dropped on the way out.

| kind | signature |
|---|---|
| `exception_ignored` | `Exception ignored in: …`, a traceback (mostly), the error |
| `never_awaited` | `FILE:LINE: RuntimeWarning: coroutine 'X' was never awaited` |
| `task_destroyed` | `Task was destroyed but it is pending!`, `task: <…>` |
| `never_retrieved` | `Task exception was never retrieved` (or `Future …`), `future: <…>`, traceback and error |
| `loop_closed` | a traceback that ends in `RuntimeError: Event loop is closed` |

What makes a signature?
    Words do not: a healthy server logs "error", prints the tracebacks of handled requests, and may mention any of the
    phrases above in a message. So a signature is a line as Python writes it, to its end, *and* what Python writes
    after it. The interpreter's own lines begin at the margin, or behind the prefix that a supervisor gives to all lines
    of its workers; asyncio's go through `logging`, so they may begin behind a formatter's prefix while the next lines
    do not, or be one line of JSON.
    Lost: one expression for each kind, searched in the whole text. Several processes share a stream, so other lines may
    stand between the lines of one signature.

Pure: from lines to findings, no world access.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from drainproof.hidden import REDACTED

Kind = Literal["exception_ignored", "never_awaited", "task_destroyed", "never_retrieved", "loop_closed"]

_HIDDEN = re.escape(REDACTED)
"""A secret may have been any word of a line but Python's own."""

_HEADS: dict[Kind, re.Pattern[str]] = {
    # `in: <function X.__del__ at …>`, `in: 'cython.name'`, `in atexit callback <…>:`, from 3.14 on `while …:`
    "exception_ignored": re.compile(
        rf"Exception ignored (?:(?:in|on|while)\b.*(?:<.+>|'.+'|{_HIDDEN}):?|while [\w. ]+:|(?:in|on) \w+\.[\w.]+:?)$"
    ),
    "never_awaited": re.compile(
        rf"(?:(?:/.*|\S+):\d+:|\S*{_HIDDEN}\S*) RuntimeWarning: "
        rf"coroutine (?:method )?(?:'[^']+'(?: of '[^']+')?|.*{_HIDDEN}.*) was never awaited$"
    ),
    # Some log handlers add the place of the call at the end.
    "task_destroyed": re.compile(r"Task was destroyed but it is pending!(?:\s+\S+:\d+)?$"),
    "never_retrieved": re.compile(r"\w+ exception was never retrieved(?:\s+\S+:\d+)?$"),
    "loop_closed": re.compile(r"(?<!Group )Traceback \(most recent call last\):$"),
}
_WORDS = ("Exception ignored", "RuntimeWarning: ", "Task was destroyed", "was never retrieved", "Traceback (most")
"""One of them is in every head: a quick look before the slow ones."""

_LOGGED: frozenset[Kind] = frozenset({"task_destroyed", "never_retrieved", "loop_closed"})
"""What `logging` may have written: the first line has a prefix, the next ones may have none."""

_OBJECT: dict[Kind, re.Pattern[str]] = {
    "task_destroyed": re.compile(r"(?:^|\s)task: <"),
    "never_retrieved": re.compile(r"(?:^|\s)future: <"),
}
_PLACE = re.compile(r"^\S*:\d+: (?=\w+Warning: )")
_TRACEBACK = "Traceback (most recent call last):"
_GROUP_TRACEBACK = "+ Exception Group Traceback (most recent call last):"
_GROUP_ERROR = re.compile(r" +\| (?:\w+\.)*\w*Group: ")
_AFTER_WARNING = ("  ", "Coroutine created at (most recent call last)", "RuntimeWarning: Enable tracemalloc")
_CHAIN = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_ERROR = re.compile(r"((?:[A-Za-z_]\w*\.)*)([A-Za-z_]\w*)(?:: .*)?$")
_ERROR_NAME = re.compile(r"[a-z]\w*(?:Error|Exception|Warning|Exit|Interrupt|Iteration|Cancelled|Timeout|Group)$")
_LAST_WORD = re.compile(r"(?:\S+\s+)?[\W_]+\s+$|\S+\s+$")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

_PATIENCE = 200
"""So many lines of others may stand between two lines of one signature,"""
_SHORT_PATIENCE = 20
"""and so many where it may be over already."""


@dataclass(frozen=True, kw_only=True)
class Debris:
    """One signature that was found."""

    kind: Kind
    t: float
    """When its first line arrived."""
    stream: str
    lines: tuple[str, ...]
    """The whole signature, without the lines of others."""

    @property
    def headline(self) -> str:
        """The line that says most: of a traceback the error at its end, of a warning what follows its place."""
        if self.kind == "loop_closed":
            return self.lines[-1].strip()
        return _PLACE.sub("", self.lines[0].strip())

    def __str__(self) -> str:
        last = self.lines[-1].strip()
        return self.lines[0].strip() + (f" … {last}" if len(self.lines) > 1 else "")


def find_debris(lines: Iterable[Mapping[str, Any]]) -> list[Debris]:
    """All signatures in the lines of an `output.jsonl`, in the order in which they began."""
    streams: dict[str, _Stream] = {}
    for number, line in enumerate(lines):
        if "text" in line:
            stream = streams.setdefault(line["stream"], _Stream())
            for text in _unescaped(line["text"]):
                stream.feed(number, float(line["t"]), text)
    found = [
        (block.number, Debris(kind=block.kind, t=block.t, stream=name, lines=tuple(block.lines)))
        for name, stream in streams.items()
        for block in stream.begun
        if block.complete
    ]
    return [debris for _, debris in sorted(found, key=lambda pair: pair[0])]


def _unescaped(text: str) -> list[str]:
    """The lines that one line means: a formatter for JSON writes a whole record as one, with `\\n` in it."""
    plain = _COLOURS.sub("", text) if "\x1b" in text else text
    escaped = "\\n" in plain and any(word in plain for word in _WORDS)
    return [part.rstrip() for part in (plain.split("\\n") if escaped else [plain])]


@dataclass(kw_only=True, eq=False)
class _Block:
    """A signature that has begun, or a traceback that may become one."""

    kind: Kind
    number: int
    t: float
    lines: list[str]
    marker: str
    """The last word of the prefix, where there is one: further lines of the signature may be behind the same."""
    complete: bool = False
    in_traceback: bool = False
    ended: bool = False
    """The error was there; only a chained traceback can follow."""
    others: int = 0
    """Lines of others since its last line."""

    @property
    def open(self) -> bool:
        """Whether more lines may follow."""
        may_be_over = self.complete or self.ended or (self.kind == "exception_ignored" and not self.in_traceback)
        return self.others <= (_SHORT_PATIENCE if may_be_over else _PATIENCE)

    def take(self, line: str) -> bool:
        """Takes the line if it continues this signature."""
        text = self._behind_marker(line)
        if text is None or not self._continues(text):
            self.others += 1
            return False
        self.lines.append(line)
        self.others = 0
        return True

    def _behind_marker(self, line: str) -> str | None:
        if self.marker and self.marker in line:
            return line.partition(self.marker)[2]
        return line if not self.marker or self.kind in _LOGGED else None

    def _continues(self, text: str) -> bool:
        if self.kind == "never_awaited":
            return self.others == 0 and text.startswith(_AFTER_WARNING)
        if self.kind in _OBJECT and not self.complete:
            return self._continues_to_object(text)
        if self.kind == "task_destroyed":
            return False
        if self.ended:
            self.ended = text not in _CHAIN
            return not self.ended
        return self._continues_traceback(text)

    def _continues_to_object(self, text: str) -> bool:
        """Before the object stands, in asyncio's debug mode, where it was made."""
        match = _OBJECT[self.kind].search(text)
        if match:
            self.complete, self.in_traceback = True, False
            self.marker = self.marker or _last_word(text[: match.start() + 1])
            return True
        if text.startswith("source_traceback: "):
            self.in_traceback = True
            return True
        return self.in_traceback and text.startswith("  ")

    def _continues_traceback(self, text: str) -> bool:
        if text == _TRACEBACK or text.strip() == _GROUP_TRACEBACK:
            begins, self.in_traceback = not self.in_traceback, True
            return begins
        if self.in_traceback and text.startswith("  "):
            self.complete = self.complete or _GROUP_ERROR.match(text) is not None
            return True
        if not _is_error(text, neighbour=self.in_traceback and self.others == 0):
            return False
        self.ended, self.in_traceback = True, False
        if self.kind != "loop_closed" or text.startswith("RuntimeError: Event loop is closed"):
            self.complete = True
        return True


class _Stream:
    """The signatures in one stream, fed line by line."""

    def __init__(self) -> None:
        self.begun: list[_Block] = []
        self._open: list[_Block] = []
        """The one that grew last comes first: one that was cut off must not swallow the lines of the next."""

    def feed(self, number: int, t: float, line: str) -> None:
        """One line: it continues a signature, or begins one, or is none of our business."""
        begins = _begin(number, t, line)
        block = begins
        if begins is None or begins.kind == "loop_closed":
            self._open = [one for one in self._open if one.open]
            block = next((one for one in self._open if one.take(line)), begins)
        if block is None:
            return
        if block is begins:
            self.begun.append(block)
        else:
            self._open.remove(block)
        self._open.insert(0, block)


def _begin(number: int, t: float, line: str) -> _Block | None:
    """The signature that this line begins, if it begins one."""
    if not any(word in line for word in _WORDS):
        return None
    for kind, head in _HEADS.items():
        match = head.search(line)
        if match and _may_stand_before(line[: match.start()], kind):
            return _Block(
                kind=kind,
                number=number,
                t=t,
                lines=[line],
                marker=_last_word(line[: match.start()]),
                complete=kind == "never_awaited",
                in_traceback=kind == "loop_closed",
            )
    return None


def _may_stand_before(prefix: str, kind: Kind) -> bool:
    """Whether this is no text but a prefix. What is logged has more to it than its head, so there we need not ask."""
    return kind in _LOGGED or not prefix.strip() or not prefix.rstrip()[-1].isalnum()


def _last_word(prefix: str) -> str:
    """The last word with the space behind it; mere punctuation together with the word before. Empty without a space."""
    match = _LAST_WORD.search(prefix)
    return match[0] if match else ""


def _is_error(text: str, *, neighbour: bool) -> bool:
    """Whether this is the last line of a traceback, such as `KeyError: 'x'`.

    `neighbour`: it stands right behind the traceback. Elsewhere it must not be mistaken for a log line such as
    `Server: stopped`, and the name must be one that only errors have.
    """
    if neighbour and REDACTED in text.partition(" ")[0]:  # a secret may be a part of the error's name
        return True
    match = _ERROR.match(text.replace(REDACTED, "Redacted"))
    if match is None:
        return False
    module, name = match[1], match[2]
    if module or _ERROR_NAME.search(name) or name in ("EOFError", "IOError", "OSError", "Warning"):
        return True
    return neighbour and name[0].isupper() and not name.isupper()
