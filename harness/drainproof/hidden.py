"""Takes secrets out of bytes that stream by.

It runs in the keeper as well, whose start is part of every launch, so it imports next to nothing; what the forms of a
secret are is decided in `redaction.py`.

Why not a regular expression: the alternatives are tried at each byte, and with thirty of them that took five times as
long as searching for each one alone (0.18 and 0.04 ms for 8 KiB).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import AnyStr

REDACTED = "[redacted]"
"""What stands in the place of a secret."""

FARTHEST = 8 * 1024
"""Bytes that a cut is moved back at most, unless the secrets are longer than half of it: a line that repeats the
beginning of a secret must not be held for ever."""

FIRST = 8
"""Bytes of a form that are looked for first."""


def replace(data: AnyStr, forms: Sequence[AnyStr], mark: AnyStr) -> AnyStr:
    """`data` with `mark` in the place of whatever belongs to a form; what overlaps, or touches, is one place."""
    spans: list[tuple[int, int]] = []
    for form in forms:
        at = data.find(form)
        while at >= 0:
            spans.append((at, at + len(form)))
            at = data.find(form, at + 1)
    if not spans:
        return data
    spans.sort()
    parts, done, start, end = [], 0, *spans[0]
    for begin, stop in spans[1:]:
        if begin > end:
            parts += [data[done:start], mark]
            done, start = end, begin
        end = max(end, stop)
    parts += [data[done:start], mark, data[end:]]
    return data[:0].join(parts)


class Hidden:
    """The forms of all secrets, to be taken out of a stream of bytes."""

    def __init__(self, forms: Iterable[str] = ()) -> None:
        """`forms` must not be empty texts; undecodable bytes in them are surrogates, as Python has them in paths."""
        self._forms = tuple(form.encode("utf-8", "surrogateescape") for form in forms)
        self._longest = max(map(len, self._forms), default=0)

    @property
    def longest(self) -> int:
        """Bytes of the longest form; 0 where there is none."""
        return self._longest

    def found_in(self, data: bytes) -> bool:
        """Whether a secret is in it."""
        return any(form in data for form in self._forms)

    def replace(self, data: bytes) -> bytes:
        """`data` without secrets."""
        return replace(data, self._forms, REDACTED.encode()) if self._forms else data

    def cut(self, data: bytes, at: int) -> int:
        """Where to cut `data`, at `at` or before, so that no secret is cut, nor what may turn out to be one.

        What is behind the end of `data` is not known: what is there by now may be the beginning of a secret.
        """
        wanted, least = at, max(0, at - max(FARTHEST, 2 * self._longest))
        moved = bool(self._forms)
        while moved:
            earliest = min(self._beginning(data, form, least, at) for form in self._forms)
            at, moved = earliest, earliest < at
        return at if at > least or least == 0 else wanted

    def _beginning(self, data: bytes, form: bytes, least: int, at: int) -> int:
        """The first place before `at` where the form, or as much of it as there is, begins and goes on behind `at`.

        `at` where there is none. It looks for the first bytes, since to compare the whole form at each place takes
        seconds for one of many kilobytes.
        """
        start, first = max(least, at - len(form) + 1), form[:FIRST]
        while 0 <= (start := data.find(first, start)) < at:
            if form.startswith(data[start : start + len(form)]):
                return start
            start += 1
        ends = range(max(least, at - len(form) + 1, len(data) - len(first) + 1), at)  # too short for the first bytes
        return next((start for start in ends if form.startswith(data[start:])), at)


NOTHING = Hidden()
"""Where there are no secrets."""
