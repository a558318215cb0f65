"""The lives of a target's workers, and the schedule of their restarts: pure functions of the timeline.

How is an observed delay held against a declared one?
    A supervisor counts a delay from the failure, and what is seen from outside is the death. A worker may be known to
    have failed before it is dead (it says so, and its interpreter takes seconds to end) but not before it was born. So
    the failure lies between the birth of an attempt and its death, and the delay before the next attempt lies between
    "from death to birth" (`observed`) and "from birth to birth" (`longest`). An attempt is *early* if even `longest` is
    shorter than what is declared, and *late* if even `observed` is longer; for a worker that dies at its birth both are
    the same, for one that takes seconds to fail its own start-up time is the tolerance. Beyond that there is the
    declared tolerance (jitter), and where it is late `LATE` seconds, because supervisors look from time to time, and
    every gap in which nobody watched. Lost: to ask for the distance between births alone, which a slow start makes any
    number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drainproof.probes.kin import Kin
from drainproof.target.supervision import Restart

LATE = 1.0
"""Seconds by which an attempt may come late beyond its tolerance."""

CLOCK = 0.05
"""Seconds by which it may come early beyond it: births are known to 10 ms, and timers are not exact."""


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process, from its birth to its death (CLOCK_MONOTONIC seconds)."""

    pid: int
    parent: int
    born: float
    died: float | None
    """None: it lived on when the observation ended."""
    exe: str
    cmdline: tuple[str, ...]
    own_pid: int = 0
    """The number that it has for itself, as the shim reports it: in a container another one than outside."""

    def within(self, t: float) -> bool:
        """Whether it lived at that moment."""
        return self.born <= t and (self.died is None or t < self.died)


class Lives:
    """All processes of one experiment; `kin` tells which of them are workers."""

    def __init__(self, events: Iterable[Mapping[str, Any]], *, kin: Kin | None) -> None:
        self.all: tuple[Life, ...] = tuple(_lives(events))
        self.blind: tuple[tuple[float, float], ...] = tuple(
            (float(e["t"]), float(e["until"])) for e in events if e["event"] == "blind"
        )
        """When nobody watched."""
        self.kin = kin

    @property
    def workers(self) -> tuple[Life, ...]:
        """The workers, in the order of their births."""
        if self.kin is None:
            return ()
        found = (x for x in self.all if self.kin.has(pid=x.pid, parent=x.parent, exe=x.exe, cmdline=x.cmdline))
        return tuple(sorted(found, key=lambda life: life.born))

    def of(self, pids: Iterable[int]) -> tuple[Life, ...]:
        """The lives of these processes; of a pid that was used twice the first."""
        wanted = set(pids)
        found: dict[int, Life] = {}
        for life in self.all:
            if life.pid in wanted:
                found.setdefault(life.pid, life)
        return tuple(found.values())

    def born_after(self, t: float) -> tuple[Life, ...]:
        """The workers that were born after that moment. A birth is known to 10 ms."""
        return tuple(life for life in self.workers if life.born > t - 0.02)


def _lives(events: Iterable[Mapping[str, Any]]) -> list[Life]:
    found: list[Life] = []
    living: dict[int, int] = {}
    for event in events:
        kind = event["event"]
        if kind == "born":
            living[event["pid"]] = len(found)
            found.append(
                Life(
                    pid=event["pid"],
                    parent=event["parent"],
                    born=event["t"],
                    died=None,
                    exe=event["exe"],
                    cmdline=tuple(event["cmdline"]),
                    own_pid=event.get("own_pid", event["pid"]),
                )
            )
        elif kind == "became" and event["pid"] in living:
            index = living[event["pid"]]
            found[index] = replace(found[index], exe=event["exe"], cmdline=tuple(event["cmdline"]))
        elif kind == "died" and event["pid"] in living:
            index = living.pop(event["pid"])
            found[index] = replace(found[index], died=event["t"])
    return found


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt at a restart, beside what was declared for it. Seconds."""

    number: int
    """From 1."""
    declared: float | None
    """None where no schedule is declared."""
    observed: float
    """From the death before it to its birth."""
    longest: float
    """From the birth before it to its birth: the longest that the delay can have been."""
    early: bool = False
    late: bool = False

    @property
    def off(self) -> str:
        """What is wrong with it, in a word; empty if nothing is."""
        return "too early" if self.early else "too late" if self.late else ""


def attempts(
    *,
    killed: float,
    died: float,
    successors: Sequence[Life],
    restart: Restart,
    blind: Iterable[tuple[float, float]] = (),
) -> list[Attempt]:
    """The attempts that followed a death, each held against the declared schedule.

    `killed`: the moment before the first worker was killed, so that it cannot have failed before. `died`: when its
    death was seen; a busy machine may have seen it late, so that the first delay was longer than what was observed.
    """
    declared = restart.delays(len(successors))
    found = []
    born = killed
    for index, life in enumerate(successors):
        observed, longest = life.born - died, life.born - born
        wanted = declared[index] if declared else None
        early = late = False
        if wanted is not None:
            unseen = sum(max(0.0, min(end, life.born) - max(begin, died)) for begin, end in blind)
            early = longest < wanted * (1 - restart.tolerance) - CLOCK
            late = observed > wanted * (1 + restart.tolerance) + LATE + unseen
        found.append(
            Attempt(number=index + 1, declared=wanted, observed=observed, longest=longest, early=early, late=late)
        )
        died, born = life.born if life.died is None else life.died, life.born
    return found


def side_by_side(found: Sequence[Attempt], *, width: int = 24, most: int = 7) -> list[str]:
    """The schedule as lines: declared and observed delays beside each other, bars to one scale."""
    shown = list(found[:most])
    scale = max([*(a.observed for a in shown), *(a.declared or 0.0 for a in shown)], default=0.0) or 1.0
    lines = [f"attempt  declared   observed  {'observed: █, declared: │':{width}}"]
    for each in shown:
        bar = ["█"] * max(0, round(width * each.observed / scale)) + [" "] * width
        if each.declared is not None:
            bar[min(width - 1, max(0, round(width * each.declared / scale) - 1))] = "│"
        declared = "        -" if each.declared is None else f"{each.declared:7.2f} s"
        lines.append(f"{each.number:<7} {declared} {each.observed:8.2f} s  {''.join(bar[:width])}  {each.off}".rstrip())
    if len(found) > most:
        lines.append(f"… and {len(found) - most} more")
    return lines
