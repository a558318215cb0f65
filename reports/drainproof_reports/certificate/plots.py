"""Plots over the whole run: how long the server takes to stop, and when it starts its workers again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import svg
from drainproof.verdict import Verdict
from markupsafe import Markup

from drainproof_reports.certificate.drawing import WIDTH, Scale, drawing, label, line, number, path, seconds, tick_text

LEFT, RIGHT = 196.0, WIDTH - 70.0
ROW = 24.0
SCHEDULE = "observed_s"
"""The fact of a verdict that is drawn."""

ATTEMPTS = 12
"""Attempts at a restart that are drawn."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The attempts at a restart in one scenario."""

    title: str
    summary: str
    target: str
    """Where on the page the verdict is shown."""
    picture: Markup


def exits(found: Mapping[str, Sequence[float]], grace_period: float | None) -> Markup | None:
    """Seconds from the signal to the exit, one mark for each experiment. `found`: by the scenario's name.

    A mark and not a curve: a handful of values has no shape, and each of them is a fact.
    """
    rows = {name: sorted(kept) for name, values in found.items() if (kept := [v for v in values if math.isfinite(v)])}
    if not rows:
        return None
    longest = max(value for values in rows.values() for value in values)
    shows_grace = grace_period is not None and grace_period <= 3 * longest
    end = 1.06 * max(longest, grace_period if shows_grace and grace_period else 0.0, 0.01)
    scale = Scale(start=0.0, end=end, left=LEFT, right=RIGHT)
    elements: list[svg.Element] = []
    y = 20.0
    bottom = y + ROW * len(rows) + 4
    for tick in scale.ticks():
        elements += [
            line(scale(tick), y - 4, scale(tick), bottom, "rule"),
            label(tick_text(tick), scale(tick), bottom + 13, "tick", anchor="middle"),
        ]
    if shows_grace and grace_period:
        elements += [
            line(scale(grace_period), y - 8, scale(grace_period), bottom, "mark exit"),
            label(f"grace period {grace_period:g} s", scale(grace_period) - 6, y - 8, "flag exit", anchor="end"),
        ]
    for name, values in rows.items():
        middle = y + ROW / 2
        median = statistics.median(values)
        dots: list[svg.PathData] = []
        for value in values:
            dots += [svg.M(number(scale(value)), number(middle - 6)), svg.v(12)]
        elements += [
            label(name, LEFT - 12, middle + 4, "name", anchor="end"),
            line(LEFT, middle, RIGHT, middle, "rule"),
            path(dots, "dot"),
            path([svg.M(scale(median), number(middle - 9)), svg.l(4, -5), svg.h(-8), svg.Z()], "median"),
            label(seconds(median), RIGHT + 10, middle + 4, "tick"),
        ]
        y += ROW
    elements.append(label("seconds to the exit", 0, bottom + 13, "quiet"))
    elements.append(label("median", RIGHT + 10, 12, "quiet"))
    says = "; ".join(f"{name}: median {seconds(statistics.median(values))}" for name, values in rows.items())
    return drawing(elements, height=bottom + 20, kind="plot", says=f"Seconds from the signal to the exit. {says}")


def schedule(verdict: Verdict) -> Markup | None:
    """The delays before the attempts at a restart, observed as bars and declared as marks; None where it has none."""
    observed = _delays(verdict.facts.get(SCHEDULE))[:ATTEMPTS]
    declared = _delays(verdict.facts.get("declared_s"))[:ATTEMPTS]
    if not observed:
        return None
    scale = Scale(start=0.0, end=1.06 * max(*observed, *declared, 0.01), left=LEFT, right=RIGHT)
    elements: list[svg.Element] = []
    y = 4.0
    bottom = y + ROW * len(observed) + 2
    for tick in scale.ticks():
        elements += [
            line(scale(tick), y, scale(tick), bottom, "rule"),
            label(tick_text(tick), scale(tick), bottom + 13, "tick", anchor="middle"),
        ]
    for index, value in enumerate(observed):
        middle = y + ROW / 2
        wanted = declared[index] if index < len(declared) else None
        told = seconds(value) + (f" of {seconds(wanted)}" if wanted is not None else "")
        elements += [
            label(f"attempt {index + 1}", LEFT - 12, middle + 4, "name", anchor="end"),
            path([svg.M(LEFT, number(middle)), svg.h(number(scale(value) - LEFT))], "observed"),
            label(told, max(scale(value), scale(wanted or 0.0)) + 8, middle + 4, "tick"),
        ]
        if wanted is not None:
            elements.append(path([svg.M(scale(wanted), number(middle - 9)), svg.v(18)], "declared"))
        y += ROW
    elements.append(label("seconds before it", 0, bottom + 13, "quiet"))
    return drawing(elements, height=bottom + 20, kind="plot", says=verdict.summary)


def _delays(values: object) -> list[float]:
    """Facts are whatever a scenario made of them, also one of somebody else."""
    if not isinstance(values, list):
        return []
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return [float(v) for v in numbers if math.isfinite(v) and 0 <= v <= 1e6]
