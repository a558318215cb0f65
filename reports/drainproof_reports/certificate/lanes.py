"""Bars that overlap in time go into lanes beside each other, as few as possible."""

from __future__ import annotations

from collections.abc import Iterable

Bar = tuple[float, float]
"""Where it begins and ends, in units of the drawing."""


def packed(bars: Iterable[Bar], *, most: int, gap: float) -> list[list[Bar]]:
    """The lanes, at most `most`; a bar for which none is free is left out.

    `bars` in the order of their beginning. Between two bars of a lane there is at least `gap`.
    """
    lanes: list[list[Bar]] = []
    for begin, end in bars:
        lane = next((lane for lane in lanes if lane[-1][1] + gap <= begin), None)
        if lane is not None:
            lane.append((begin, end))
        elif len(lanes) < most:
            lanes.append([(begin, end)])
    return lanes
