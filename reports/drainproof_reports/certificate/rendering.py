"""Puts the page together, and keeps it to a size that can be mailed.

What is not plain gets its full detail first. What room is left is shared by the rest; where it does not last, timelines
get coarser and then disappear, and each place where something is missing says so.
"""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from drainproof.text import flat, printable
from drainproof.verdict import Results
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from drainproof_reports.certificate import experiment, page, plots, words
from drainproof_reports.certificate.experiment import Detail, Shown
from drainproof_reports.certificate.page import Item, Page

ROOM = 1_500_000
"""Bytes that all experiments together may take; the page around them takes a few hundred thousand."""

DETAILS = (
    (16_000, Detail(room=400, dull=160, log_lines=24)),
    (6_500, Detail(room=160, dull=60, log_lines=6)),
    (3_500, Detail(room=60, dull=20, log_lines=3)),
    (0, Detail(room=0, dull=0, log_lines=0)),
)
"""How much is shown, by the bytes that there are for an experiment."""

LONGEST = 20_000
"""Characters of any one value that are shown."""

DETAIL_LINES, DETAIL_WIDTH = 24, 300
"""Of the details of a verdict."""


def render(results: Results, folder: Path) -> str:
    """The certificate as HTML; the evidence is looked for in the report folder `folder`."""
    composed = page.compose(results)
    template = _environment().get_template("certificate.html.j2")
    done = _experiments(composed, folder)
    shown = {place: one.shown for place, one in done.items()}
    return template.render(
        page=composed,
        results=results,
        outcomes=words.OUTCOMES,
        experiments={place: one.html for place, one in done.items()},
        exits=_exits(composed, shown),
        schedules=_schedules(composed),
        cut=sum(one.cut for one in done.values()),
    )


class _Done(NamedTuple):
    html: Markup
    shown: Shown
    cut: bool
    """Something was left out, for want of room."""


def _experiments(composed: Page, folder: Path) -> dict[str, _Done]:
    """The rendered experiments by their place; the ones that are not plain first, because they get the room first."""
    items = sorted((item for chapter in composed.chapters for item in chapter.items), key=lambda i: i.outcome == "pass")
    left = ROOM
    done = {}
    for index, item in enumerate(items):
        one = _experiment(item, folder, left // (len(items) - index))
        left -= len(one.html.encode("utf-8", "replace"))
        done[item.place] = one
    return done


def _experiment(item: Item, folder: Path, share: int) -> _Done:
    """One of them, in about its share of the room; three times that where it is not plain."""
    share *= 1 if item.outcome == "pass" else 3
    detail = next(detail for least, detail in DETAILS if share >= least)
    full = item.outcome != "pass" and detail.room > 0
    shown = Shown() if item.evidence is None else experiment.read(folder / item.evidence, detail)
    cut = detail.room == 0 and item.evidence is not None
    html = _item(item, shown, full=full, cut=cut)
    if len(html) > max(share, 2 * DETAILS[1][0]) and shown.timeline is not None:
        shown, cut = replace(shown, timeline=None), True
        html = _item(item, shown, full=full, cut=cut)
    return _Done(html, shown, cut)


def _item(item: Item, shown: Shown, *, full: bool, cut: bool) -> Markup:
    template = _environment().get_template("experiment.html.j2")
    return Markup(template.render(item=item, shown=shown, full=full, cut=cut, outcomes=words.OUTCOMES))


def _exits(composed: Page, shown: dict[str, Shown]) -> Markup | None:
    found: dict[str, list[float]] = {}
    grace: float | None = None
    for chapter in composed.chapters:
        for item in chapter.items:
            one = shown[item.place]
            grace = one.grace_period if grace is None else grace
            if one.exit_after is not None:
                found.setdefault(chapter.title, []).append(one.exit_after)
    return plots.exits(found, grace)


def _schedules(composed: Page) -> list[plots.Schedule]:
    return [
        plots.Schedule(
            title=verdict.title,
            summary=verdict.summary,
            target=composed.places[verdict.scenario, verdict.requirement],
            picture=picture,
        )
        for verdict in composed.results.verdicts
        if (picture := plots.schedule(verdict)) is not None
    ]


# Text


def fit(value: object) -> object:
    """What the template engine does to each value that it writes, before it escapes it."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value if len(value) <= LONGEST else value[:LONGEST] + "…")


def details(text: str) -> str:
    """Lines of a verdict's details, so many and so long as a page can take."""
    lines = [line for line in printable(text[:LONGEST]).split("\n") if line.strip()]
    kept = [line if len(line) <= DETAIL_WIDTH else line[:DETAIL_WIDTH] + "…" for line in lines[:DETAIL_LINES]]
    more = len(lines) - len(kept)
    return "\n".join(kept + ([f"… {more} more lines in results.json"] if more > 0 else []))


def marked(text: str) -> Markup:
    """A rule, whose Markdown code marks become code."""
    parts = re.split(r"`([^`]+)`", flat(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


@functools.cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("drainproof_reports.certificate"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=fit,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(details=details, marked=marked, plural=words.plural, sentence=words.sentence)
    return made
