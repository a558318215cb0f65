"""What all drawings share: a scale, ticks, and elements of SVG whose text is escaped.

Colours and fonts come from the page's style sheet by class names, so that a drawing is right in light and dark and on
paper. The library (svg.py) writes text as it is given; therefore text gets into a drawing by `label` and `title` alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import svg
from drainproof.text import flat
from markupsafe import Markup, escape

WIDTH = 1000.0
"""Units of a drawing's width; the page scales it to the room that there is."""

STEPS = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From seconds to units of the drawing. What lies outside is drawn at the edge."""

    start: float
    end: float
    left: float
    right: float

    def __call__(self, t: float) -> float:
        """Where the moment `t` is drawn."""
        share = (t - self.start) / max(self.end - self.start, 1e-9)
        return round(self.left + min(max(share, 0.0), 1.0) * (self.right - self.left), 1)

    def holds(self, t: float) -> bool:
        """Whether the moment lies within."""
        return self.start <= t <= self.end

    def ticks(self, most: int = 10) -> list[float]:
        """Round values, at most about `most`."""
        span = max(self.end - self.start, 1e-9)
        power = 10.0 ** math.floor(math.log10(span / most))
        step = next(s * power for s in (*STEPS, 10) if span / (s * power) <= most)
        first, last = math.ceil(self.start / step), math.floor(self.end / step)
        return [number * step for number in range(first, last + 1)]


def seconds(value: float) -> str:
    """A duration as a person reads it: `12 ms`, `0.95 s`, `12.5 s`."""
    if abs(value) < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if abs(value) < 10 else f"{value:.1f} s"


def tick_text(value: float) -> str:
    """The label of a tick."""
    return f"{round(value, 6):g}"


def label(text: str, x: float, y: float, kind: str = "", *, anchor: str = "start") -> svg.Text:
    """Text at a place; `kind` are class names of ours. `anchor`: start, middle or end."""
    names = [*kind.split(), *([] if anchor == "start" else [anchor])]
    return svg.Text(x=number(x), y=number(y), class_=names or None, text=str(escape(flat(text))))


def title(text: str) -> svg.Title:
    """What a mouse that rests on the element shows."""
    return svg.Title(text=str(escape(flat(text))))


def number(value: float) -> float:
    """A coordinate in its shortest form: a tenth of a unit is less than anybody sees."""
    rounded = round(value, 1)
    return int(rounded) if rounded == int(rounded) else rounded


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> svg.Path:
    """A straight line."""
    return path([svg.M(number(x1), number(y1)), svg.L(number(x2), number(y2))], kind)


def path(pieces: Sequence[svg.PathData], kind: str, *, thick: float | None = None) -> svg.Path:
    """All `pieces` as one element of the classes `kind`: one for each bar would be ten times as long."""
    return svg.Path(d=list(pieces), class_=kind.split(), stroke_width=None if thick is None else number(thick))


def drawing(elements: Sequence[svg.Element], *, height: float, kind: str, says: str) -> Markup:
    """The whole drawing; `says` is what it shows, in words, for those who do not see it."""
    whole = svg.SVG(
        viewBox=svg.ViewBoxSpec(0, 0, int(WIDTH), math.ceil(height)),
        class_=kind.split(),
        extra={"role": "img"},
        elements=[title(says), *elements],
    )
    return Markup(whole.as_str().replace(' xmlns="http://www.w3.org/2000/svg"', ""))
