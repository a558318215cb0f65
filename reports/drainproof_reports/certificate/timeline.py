"""One experiment at a glance: its requests as bars, and below them on the same axis what was seen of the server.

A picture that tells by colour alone is lost on many readers. So requests are drawn in groups, and the words at the left
of each group say how they stood at the fault, what became of them, and how many they were; those that were lost have a
cross at their end, those that no server could have saved a ring. Time zero is the (first) fault.

What a probe saw is drawn as it is known: a change lies between two looks, and what is between them is hatched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import svg
from drainproof.evidence import Evidence
from drainproof.evidence.briefs import Standing
from drainproof.probes.history import State, is_positive
from markupsafe import Markup

from drainproof_reports.certificate import crowd, words
from drainproof_reports.certificate.crowd import Group
from drainproof_reports.certificate.drawing import (
    WIDTH,
    Scale,
    drawing,
    label,
    line,
    number,
    path,
    seconds,
    tick_text,
)
from drainproof_reports.certificate.lanes import packed

LEFT, RIGHT = 250.0, WIDTH - 14.0
"""Where the plot begins and ends; left of it there are the labels."""

THICK, THIN, GAP = 7.0, 2.4, 1.4
"""The height of a bar where there are few lanes, and where there are many; between two bars."""

TALL = 230.0
"""About how high all bars together may be."""

LANES, DULL_LANES = 32, 6
"""How many lanes a group may have, and one of the background."""

LEAST = 1.2
"""Units that a bar is at least long, so that it can be seen."""

ROW = 15.0
"""The height of a row of text."""

BEFORE = 0.3
"""The share of the picture that is before the fault, where there is so much."""

Held = Literal["yes", "no"]

STOPS = frozenset({"signal", "console_event", "pod_termination"})
"""Kinds of faults that ask for an exit."""

PROCESSES = 8
"""Processes that get a line of their own."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A picture, and the same in words."""

    picture: Markup
    says: str
    drawn: int
    of: int
    """How many of how many requests are drawn."""


class _Stack:
    """Elements from top to bottom, over one axis whose zero is the moment `zero`."""

    def __init__(self, *, zero: float, scale: Scale, y: float) -> None:
        self.zero = zero
        self.scale = scale
        self.y = y
        self.elements: list[svg.Element] = []

    def x(self, t: float) -> float:
        """Where a moment is drawn."""
        return self.scale(t - self.zero)

    def holds(self, t: float) -> bool:
        """Whether it lies in the picture."""
        return self.scale.holds(t - self.zero)


def draw(evidence: Evidence, *, room: int, dull: int) -> Timeline | None:
    """The timeline of an experiment; None where the target was not even launched.

    `room`: how many requests of a group are drawn at most, `dull` how many of the background. Raises HarnessError, or
    LookupError, TypeError and ValueError, where the evidence is damaged.
    """
    launch = evidence.moment("launch")
    if launch is None:
        return None
    groups = crowd.gather(evidence.each_request(), room=room, dull=dull)
    zero = float(evidence.faults[0]["t"]) if evidence.faults else launch
    scale = _scale(evidence, zero=zero, launch=launch)
    flags = _flags(_marks(evidence, zero), scale)
    stack = _Stack(zero=zero, scale=scale, y=max((flag.y for flag in flags), default=0.0) + 8)
    drawn = _requests(stack, groups, told=bool(evidence.faults))
    _tracks(stack, evidence)
    bottom = stack.y + 4
    _axis(stack, "seconds after the fault" if evidence.faults else "seconds after the launch")
    behind = [element for flag in flags for element in _flag(flag, bottom)]
    says = _in_words(evidence, groups, zero)
    picture = drawing([*behind, *stack.elements], height=stack.y, kind="timeline", says=says)
    return Timeline(picture=picture, says=says, drawn=drawn, of=sum(group.count for group in groups))


def _scale(evidence: Evidence, *, zero: float, launch: float) -> Scale:
    """Enough before the fault to see the load, and all that was observed after it."""
    ends = [t for t in (evidence.moment("gone"), evidence.moment("exit"), evidence.observed_until) if t is not None]
    end = max([zero + 0.05, *ends])
    begin = max(launch, min(evidence.moment("load") or launch, zero))
    if evidence.faults and zero > launch:
        begin = max(begin, zero - max(BEFORE / (1 - BEFORE) * (end - zero), 0.3))
    span = end - min(begin, zero)
    return Scale(start=min(begin, zero) - zero - 0.01 * span, end=end - zero + 0.03 * span, left=LEFT, right=RIGHT)


# Marks: moments that go through the whole picture


class _Mark(NamedTuple):
    t: float
    text: str
    kind: str


def _marks(evidence: Evidence, zero: float) -> list[_Mark]:
    found = [_Mark(float(fault["t"]) - zero, words.mark(fault), "fault") for fault in evidence.faults]
    end = evidence.find("exit")
    if end is not None:
        status = f"exit {end['code']}" if end["code"] is not None else f"killed by signal {end['signal']}"
        found.append(_Mark(float(end["t"]) - zero, status, "exit"))
    gone = evidence.gone
    if gone is not None and (end is None or gone - float(end["t"]) > 0.2):
        found.append(_Mark(gone - zero, "all processes gone", "exit"))
    for event, text in (("ended_by_harness", "ended by drainproof"), ("recovered", "recovered")):
        if (moment := evidence.moment(event)) is not None:
            found.append(_Mark(moment - zero, text, "other"))
    return sorted(found)


class _Flag(NamedTuple):
    mark: _Mark
    x: float
    y: float
    """Of its text."""
    flipped: bool
    """Its text stands at the left of its line, because there is no room at the right."""


def _flags(marks: Sequence[_Mark], scale: Scale) -> list[_Flag]:
    """Where the name of each mark stands above the picture: in as many rows as it takes."""
    found = []
    taken: list[float] = []
    for mark in marks:
        x, wide = scale(mark.t), 6.4 * len(mark.text) + 12
        flipped = x + wide > RIGHT
        begin = x - wide if flipped else x
        row = next((row for row, end in enumerate(taken) if end <= begin), len(taken))
        taken[row:] = [begin + wide, *taken[row + 1 :]]
        found.append(_Flag(mark, x, ROW * (row + 1) - 3, flipped))
    return found


def _flag(flag: _Flag, bottom: float) -> list[svg.Element]:
    side = -4 if flag.flipped else 4
    kind = flag.mark.kind
    return [
        line(flag.x, flag.y - 10, flag.x, bottom, f"mark {kind}"),
        label(flag.mark.text, flag.x + side, flag.y, f"flag {kind}", anchor="end" if flag.flipped else "start"),
    ]


# Requests


def _requests(stack: _Stack, groups: Sequence[Group], *, told: bool) -> int:
    """Draws the groups; gives how many requests are drawn. `told`: whether it says how they stood at the fault."""
    packings = []
    for group in groups:
        bars = []
        for brief in group.kept:
            begin, end = stack.x(brief.begun), stack.x(brief.end)
            if stack.holds(brief.begun) or stack.holds(brief.end) or begin < end:
                bars.append((begin, max(end, begin + LEAST)))
        dull = group.fate == "right" and group.standing in ("before", "after")
        packings.append(
            packed(bars, most=DULL_LANES if dull else LANES, gap=9.0 if group.tone in ("lost", "unlucky") else 0.8)
        )
    lanes = sum(map(len, packings))
    pitch = min(THICK + GAP, max(THIN + 0.6, TALL / max(lanes, 1)))
    drawn = 0
    standing: Standing | None = None
    for group, lanes_of_one in zip(groups, packings, strict=True):
        if group.standing != standing:
            stack.y += 3 if standing is None else 7
            standing = group.standing
            if told:
                stack.elements.append(label(crowd.IN_WORDS[standing], 0, stack.y + 11, "quiet"))
        drawn += sum(map(len, lanes_of_one))
        _group(stack, group, lanes_of_one, pitch)
    return drawn


def _group(stack: _Stack, group: Group, lanes: list[list[tuple[float, float]]], pitch: float) -> None:
    height = max(ROW, pitch * len(lanes) + 4)
    thick = pitch - (GAP if pitch > 4 else 0.6)
    top = stack.y + (height - pitch * len(lanes)) / 2
    told = f"{group.count} {words.FATES[group.fate]}"
    stack.elements.append(label(told, LEFT - 10, stack.y + 11, f"of-{group.tone}", anchor="end"))
    bars: list[svg.PathData] = []
    ends: list[svg.PathData] = []
    for index, lane in enumerate(lanes):
        y = number(top + pitch * (index + 0.5))
        for begin, end in lane:
            bars += [svg.M(number(begin), y), svg.h(number(end - begin))]
            ends += _end(group.tone, end, y, max(min(thick * 0.45, 3.0), 1.4))
    if bars:
        faint = " faint" if group.standing == "before" else ""
        stack.elements.append(path(bars, f"bar {group.tone}{faint}", thick=thick))
    if ends:
        stack.elements.append(path(ends, f"end {group.tone}"))
    stack.y += height


def _end(tone: crowd.Tone, x: float, y: float, r: float) -> list[svg.PathData]:
    """The shape at the end of a bar: a cross for what was lost, a ring for what no server could have saved."""
    r, x = number(r), number(x + r + 1.5)
    if tone == "lost":
        return [svg.M(number(x - r), number(y - r)), svg.l(2 * r, 2 * r), svg.m(-2 * r, 0), svg.l(2 * r, -2 * r)]
    if tone == "unlucky":
        return [svg.M(number(x - r), y), svg.a(r, r, 0, True, True, 2 * r, 0), svg.a(r, r, 0, True, True, -2 * r, 0)]
    return []


# What the probes saw


class _Span(NamedTuple):
    """What was seen from one look to another."""

    first: float
    last: float
    held: Held
    text: str


def _span(state: State, held: bool, text: str) -> _Span:
    return _Span(state.first.earliest, state.last.latest, "yes" if held else "no", text)


def _tracks(stack: _Stack, evidence: Evidence) -> None:
    stack.y += 8
    stack.elements.append(line(LEFT, stack.y, RIGHT, stack.y, "rule"))
    stack.y += 4
    history = evidence.history
    for probe in ("readiness", "liveness"):
        for key in history.keys(probe=probe):
            states = history.states(probe=probe, key=key)
            _track(stack, probe, [_span(s, is_positive(s.value), words.health(s.value)) for s in states])
    for name, port in evidence.experiment["ports"].items():
        states = history.states(probe="listener", key=int(port))
        if any(state.value["inodes"] for state in states):
            spans = [_span(state, bool(state.value["inodes"]), "closed") for state in states]
            _track(stack, f"{words.port(name)} listener", spans)
    _processes(stack, evidence)


def _track(stack: _Stack, name: str, spans: Sequence[_Span]) -> None:
    """A band: thick while it holds, thin while it does not, hatched between the two looks of a change."""
    if not spans:
        return
    y = number(stack.y + ROW / 2)
    pieces: dict[str, list[svg.PathData]] = {"yes": [], "no": [], "between": []}
    notes: list[svg.Element] = []
    free = LEFT
    before: _Span | None = None
    for span in _runs(spans):
        begin, end = stack.x(span.first), stack.x(span.last)
        if begin < end or stack.holds(span.first):
            pieces[span.held] += [svg.M(begin, y), svg.h(number(max(end - begin, 0.8)))]
        if before is not None and (left := stack.x(before.last)) < begin:
            pieces["between"] += [svg.M(left, y), svg.h(number(begin - left))]
        after = begin + 6.2 * len(span.text) + 12
        if span.held == "no" and span.first > stack.zero and free <= begin and after <= RIGHT:
            notes.append(label(span.text, begin + 6, stack.y + 11, "note"))
            free = after
        before = span
    stack.elements.append(label(name, LEFT - 10, stack.y + 11, "name", anchor="end"))
    stack.elements += [path(found, f"band {kind}") for kind, found in pieces.items() if found]
    stack.elements += notes
    stack.y += ROW


def _runs(spans: Iterable[_Span]) -> list[_Span]:
    """Spans that follow each other and tell the same, as one: a listener's backlog may change, and it still listens."""
    found: list[_Span] = []
    for span in spans:
        if found and found[-1].held == span.held:
            found[-1] = found[-1]._replace(last=span.last)
        else:
            found.append(span)
    return found


def _processes(stack: _Stack, evidence: Evidence) -> None:
    lives = _lives(evidence)
    shown = lives[:PROCESSES]
    if not shown:
        return
    more = f" ({len(lives)}, {len(shown)} drawn)" if len(lives) > len(shown) else ""
    stack.y += 2
    stack.elements.append(label(f"processes{more}", LEFT - 10, stack.y + 9, "name", anchor="end"))
    pieces: list[svg.PathData] = []
    stops: list[svg.PathData] = []
    for index, (born, died) in enumerate(shown):
        y = number(stack.y + 6 * index + 5)
        begin, end = stack.x(born), stack.x(died)
        pieces += [svg.M(begin, y), svg.h(number(max(end - begin, LEAST)))]
        if stack.holds(died):
            stops += [svg.M(end, number(y - 2.5)), svg.v(5)]
    stack.elements.append(path(pieces, "process"))
    if stops:
        stack.elements.append(path(stops, "stop"))
    stack.y += max(ROW, 6 * len(shown) + 6)


def _lives(evidence: Evidence) -> list[tuple[float, float]]:
    """When each process was there: from births and deaths where they were watched, else from the looks."""
    until = evidence.observed_until
    if evidence.lives.all:
        return [(life.born, until if life.died is None else life.died) for life in evidence.lives.all]
    seen: dict[Any, tuple[float, float]] = {}
    for state in evidence.history.states(probe="processes"):
        for process in state.value["processes"]:
            born, _ = seen.get(process["pid"], (float(process.get("created", state.first.earliest)), 0.0))
            seen[process["pid"]] = (born, state.last.latest)
    end = evidence.find("exit")
    if end is not None and (launch := evidence.find("launch")) is not None and launch["pid"] in seen:
        seen[launch["pid"]] = (seen[launch["pid"]][0], float(end["t"]))
    return list(seen.values())


def _axis(stack: _Stack, text: str) -> None:
    stack.y += 4
    stack.elements.append(line(LEFT, stack.y, RIGHT, stack.y, "axis"))
    for tick in stack.scale.ticks():
        x = stack.scale(tick)
        stack.elements.append(line(x, stack.y, x, stack.y + 4, "axis"))
        stack.elements.append(label(tick_text(tick), x, stack.y + 16, "tick", anchor="middle"))
    stack.elements.append(label(text, 0, stack.y + 16, "quiet"))
    stack.y += 2 * ROW - 6


# The same in words


def _in_words(evidence: Evidence, groups: Sequence[Group], zero: float) -> str:
    told = []
    for standing in ("accepted", "after"):
        found = crowd.counted(groups, standing)
        if found:
            what = "accepted before the fault" if standing == "accepted" else "arrived after it"
            told.append(f"{sum(found.values())} {what}: {_listed(f'{n} {words.FATES[f]}' for f, n in found.items())}")
    if evidence.faults:
        told += _changes(evidence, zero)
    end = evidence.find("exit")
    if end is not None:
        status = f"exit status {end['code']}" if end["code"] is not None else f"killed by signal {end['signal']}"
        told.append(f"{status} after {seconds(float(end['t']) - zero)}")
    elif evidence.faults and evidence.faults[0].get("kind") in STOPS:
        told.append(f"no exit within {seconds(evidence.observed_until - zero)}")
    return " · ".join(told)


def _changes(evidence: Evidence, zero: float) -> list[str]:
    told = []
    for path_ in evidence.history.keys(probe="readiness"):
        change = evidence.history.first_negative(path=str(path_), after=zero)
        if change is not None and change.earliest < evidence.observed_until:
            told.append(f"not ready after {seconds(max(change.latest - zero, 0.0))} ({words.health(change.new)})")
    closed = evidence.listener_closed
    if closed is not None:
        told.append(f"port closed after {seconds(max(closed.latest - zero, 0.0))}")
    return told


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)
