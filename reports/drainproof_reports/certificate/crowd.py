"""Which requests are drawn: all where there are few, and of many the ones that tell the most.

Requests are put into groups by how they stood at the fault and what became of them, so that the label of a group says
in words what its colour says. A group keeps so many of its requests as can be told apart in a picture. Which of many it
keeps is decided by a hash of their moments: no regularity of the load can make the choice a false picture, and the same
evidence always gives the same one. The numbers that are written are of all of them.

The ledger is read once, as a stream; what is kept does not grow with it.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from drainproof.evidence.briefs import Brief, Standing
from drainproof.evidence.requests import Fate

Tone = Literal["good", "turned", "unlucky", "lost", "unknown"]
"""`good`: the right answer · `turned`: told at once that it will not be served · `unlucky`: a loss that no server can
avoid · `lost`: what a server must not do to an accepted request · `unknown`: says nothing."""

TONES: dict[Fate, Tone] = {
    "right": "good",
    "unavailable": "turned",
    "refused": "turned",
    "elsewhere": "turned",
    "backlog": "unlucky",
    "crossing": "unlucky",
    "dropped": "lost",
    "cut": "lost",
    "hung": "lost",
    "wrong": "lost",
    "unfinished": "unknown",
}

STANDINGS: tuple[Standing, ...] = ("accepted", "under way", "after", "before")
"""The order in which they are drawn: what the rules are about comes first."""

IN_WORDS: dict[Standing, str] = {
    "accepted": "accepted before",
    "under way": "under way",
    "after": "arrived after",
    "before": "ended before",
}


@dataclass(kw_only=True)
class Group:
    """Requests that stood alike and ended alike."""

    standing: Standing
    fate: Fate
    room: int
    """How many are kept at most."""
    count: int = 0
    _kept: list[tuple[int, int, Brief]] = field(default_factory=list)

    @property
    def tone(self) -> Tone:
        """How good that end is."""
        return TONES[self.fate]

    @property
    def kept(self) -> list[Brief]:
        """Those that may be drawn, in the order of their beginning."""
        return sorted(brief for _, _, brief in self._kept)

    def add(self, brief: Brief) -> None:
        """Counts one more, and keeps it or not."""
        self.count += 1
        if len(self._kept) < self.room:
            heapq.heappush(self._kept, (-_place(brief), self.count, brief))
        elif (place := _place(brief)) < -self._kept[0][0]:
            heapq.heapreplace(self._kept, (-place, self.count, brief))


def _place(brief: Brief) -> int:
    """Where it stands in a queue without any order. (A hash of numbers is the same in every process.)"""
    return hash((brief.end, brief.begun)) & 0x7FFFFFFF


def gather(briefs: Iterable[Brief], *, room: int, dull: int) -> list[Group]:
    """The groups, in the order in which they are drawn; each keeps up to `room`.

    Those that got the right answer and were not there at the fault keep up to `dull`: they are the background.
    """
    groups: dict[tuple[Standing, Fate], Group] = {}
    for brief in briefs:
        key = (brief.standing, brief.fate)
        group = groups.get(key)
        if group is None:
            plain = brief.fate == "right" and brief.standing in ("before", "after")
            group = groups[key] = Group(standing=brief.standing, fate=brief.fate, room=dull if plain else room)
        group.add(brief)
    worst = ("lost", "unlucky", "turned", "good", "unknown")
    return sorted(groups.values(), key=lambda g: (STANDINGS.index(g.standing), worst.index(g.tone), g.fate))


def counted(groups: Iterable[Group], standing: Standing) -> dict[Fate, int]:
    """How many of those that stood so met which fate."""
    found: Counter[Fate] = Counter()
    for group in groups:
        if group.standing == standing:
            found[group.fate] += group.count
    return dict(found)
