"""What the probes saw, read back: pure questions to the lines that `sampler` wrote. Nothing here touches the world.

A probe looks from time to time, so a change is never seen, only its two sides: the last look that still saw the old
state and the first that saw the new one. A look takes time itself, and what it saw may be as old as its beginning. So
a change lies after the *beginning* of the last old look and before the *end* of the first new one, and no earlier or
later moment is claimed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

Value = Mapping[str, Any]
Key = str | int | None
"""What a probe looks at: the port of a listener, the path of a health probe, None for the processes."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Something happened after `earliest` and not later than `latest` (CLOCK_MONOTONIC seconds)."""

    earliest: float
    latest: float


@dataclass(frozen=True, kw_only=True)
class Change(Interval):
    """A change from one value to another."""

    old: Value
    new: Value


@dataclass(frozen=True, kw_only=True)
class State:
    """A value that was seen by one look after another, without another value between them."""

    value: Value
    first: Interval
    """Beginning and end of the first look that saw it."""
    last: Interval
    """Beginning and end of the last one."""
    error: str | None = None
    """Why nothing could be seen; `value` is empty then, and it says nothing about the target."""


class History:
    """Immutable. `lines` are those of `probes.jsonl`, in the order in which they were written."""

    def __init__(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._states: dict[tuple[str, Key], list[State]] = {}
        self._unsupported: dict[str, str] = {}
        for line in lines:
            if "unsupported" in line:
                self._unsupported[line["probe"]] = line["unsupported"]
            else:
                key = (line["probe"], line.get("port", line.get("path")))
                look = Interval(earliest=line["t0"], latest=line["t"])
                state = State(value=line.get("value", {}), first=look, last=look, error=line.get("error"))
                _append(self._states.setdefault(key, []), state)

    # General

    def unsupported(self, *, probe: str) -> str | None:
        """Why this probe does not apply to the target; None where it does."""
        return self._unsupported.get(probe)

    def keys(self, *, probe: str) -> tuple[Key, ...]:
        """The ports or paths that this probe looked at."""
        return tuple(key for name, key in self._states if name == probe)

    def states(self, *, probe: str, key: Key = None) -> tuple[State, ...]:
        """The values in their order. Looks that failed for reasons of our own say nothing and are left out."""
        found: list[State] = []
        for state in self._states.get((probe, key), ()):
            if state.error is None:
                _append(found, state)
        return tuple(found)

    def errors(self, *, probe: str, key: Key = None) -> tuple[State, ...]:
        """The looks that failed for reasons of our own."""
        return tuple(state for state in self._states.get((probe, key), ()) if state.error is not None)

    def at(self, *, probe: str, key: Key = None, t: float) -> State | None:
        """The state that the last look which was over at the moment `t` saw; None if there was no look yet."""
        before = [state for state in self.states(probe=probe, key=key) if state.first.latest <= t]
        return before[-1] if before else None

    def first_change(
        self, *, probe: str, key: Key = None, after: float, predicate: Callable[[Value], bool]
    ) -> Change | None:
        """How `predicate` came to hold for the first value that was seen after the moment `after` and meets it.

        The change lies before `after` where that value was there already. None if no such value was seen, or if it was
        never seen otherwise before.
        """
        states = self.states(probe=probe, key=key)
        for index, state in enumerate(states):
            if state.last.latest > after and predicate(state.value):
                return _beginning(states, index, predicate)
        return None

    def changes(self, *, probe: str, key: Key = None, after: float = float("-inf")) -> tuple[Change, ...]:
        """All changes of the value that were seen after the moment `after`, each with both sides."""
        found = (_change(old, new) for old, new in pairwise(self.states(probe=probe, key=key)))
        return tuple(change for change in found if change.latest > after)

    # Listeners

    def listener_opened(self, *, port: int) -> Change | None:
        """When somebody first listened on `port`."""
        return self.first_change(probe="listener", key=port, after=float("-inf"), predicate=_is_open)

    def listener_closed(self, *, port: int, after: float) -> Change | None:
        """When nobody listened on `port` any more, after the moment `after`: last seen open, first seen closed."""
        return self.first_change(probe="listener", key=port, after=after, predicate=lambda value: not _is_open(value))

    def listener_losses(self, *, port: int, after: float) -> list[Interval]:
        """Each closing of a listening socket of `port` after the moment `after`, by whichever process that shared it.

        Connections in its accept queue are reset when the last process closes it; connections that a process had
        accepted and not read are reset when that process ends.
        """
        sockets = [
            change
            for change in self.changes(probe="listener", key=port, after=after)
            if set(change.old["inodes"]) - set(change.new["inodes"])
        ]
        inodes = {inode for state in self.states(probe="listener", key=port) for inode in state.value["inodes"]}
        holders = [
            change
            for change in self.changes(probe="holders", after=after)
            if _pairs(change.old, inodes) - _pairs(change.new, inodes)
        ]
        both = sorted([*sockets, *holders], key=lambda change: change.latest)
        return [Interval(earliest=change.earliest, latest=change.latest) for change in both]

    # Health

    def first_negative(self, *, path: str, after: float, probe: str = "readiness") -> Change | None:
        """When the health path first turned negative after the moment `after` (any failure, a timeout included)."""
        return self.first_change(probe=probe, key=path, after=after, predicate=lambda value: not is_positive(value))

    def first_positive(self, *, path: str, after: float = float("-inf"), probe: str = "readiness") -> Change | None:
        """When it first turned positive after the moment `after`."""
        return self.first_change(probe=probe, key=path, after=after, predicate=is_positive)

    # Processes

    def pids(self, *, after: float = float("-inf"), before: float = float("inf")) -> set[int]:
        """The pids of all processes of the target that were seen between these moments."""
        return {
            process["pid"]
            for state in self.states(probe="processes")
            if state.last.latest > after and state.first.earliest < before
            for process in state.value["processes"]
        }


def _append(states: list[State], state: State) -> None:
    """Adds a state, or makes the last one longer."""
    if states and (states[-1].value, states[-1].error) == (state.value, state.error):
        states[-1] = replace(states[-1], last=state.last)
    else:
        states.append(state)


def is_positive(value: Value) -> bool:
    """Whether a health probe's value is a status from 200 to 399, as the kubelet counts it."""
    return bool(200 <= value.get("status", 0) < 400)


def _is_open(value: Value) -> bool:
    return bool(value["inodes"])


def _pairs(value: Value, inodes: set[int]) -> set[tuple[int, int]]:
    """Who held which of these sockets. JSON made the inodes text."""
    return {(int(inode), pid) for inode, pids in value.items() if int(inode) in inodes for pid in pids}


def _change(old: State, new: State) -> Change:
    return Change(earliest=old.last.earliest, latest=new.first.latest, old=old.value, new=new.value)


def _beginning(states: tuple[State, ...], index: int, predicate: Callable[[Value], bool]) -> Change | None:
    """The change that began the run of values around `index` for which `predicate` holds."""
    while index > 0 and predicate(states[index - 1].value):
        index -= 1
    return _change(states[index - 1], states[index]) if index > 0 else None
