"""Puts the page together, and keeps it to a size that can be mailed.

What is not plain gets its full detail first. What room is left is shared by the rest; where it does not last, timelines
get coarser and then disappear, an experiment becomes a line, and lines a number; each place where something is missing
says so. Whatever a run has to say, its page stays below `MOST`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from drainproof.errors import HarnessError
from drainproof.text import flat, printable, shortened
from drainproof.verdict import Results, Verdict
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from drainproof_reports.certificate import experiment, page, plots, words
from drainproof_reports.certificate.experiment import Detail, Shown
from drainproof_reports.certificate.grid import WORST
from drainproof_reports.certificate.page import Item, Page
from drainproof_reports.certificate.provenance import Provenance, establish

MOST = 2_000_000
"""Bytes that no page exceeds."""

ROOM = 1_400_000
"""Bytes that all experiments together may take; the page around them takes a few hundred thousand."""

FLOOR = 1_200
"""With less room than this for an experiment, it becomes a line."""

LINE = 450
"""About the bytes of a line."""

DETAILS = (
    (16_000, Detail(room=400, dull=160, log_lines=24)),
    (6_500, Detail(room=160, dull=60, log_lines=6)),
    (3_500, Detail(room=60, dull=20, log_lines=3)),
    (0, Detail(room=0, dull=0, log_lines=0)),
)
"""How much is shown, by the bytes that there are for an experiment."""

LONGEST = 8_000
"""Characters of any one value that are shown."""

LISTED = 40
"""Sentences of a gate, and declarations that are out of date, which are listed."""

PICTURES = 12
"""Restart schedules that are drawn."""

PROBLEMS = 6
"""Things that are wrong with the evidence which are listed, in one place."""

DETAIL_LINES, DETAIL_WIDTH = 24, 300
"""Of the details of a verdict."""


def render(results: Results, folder: Path | None, *, problem: str = "") -> str:
    """The certificate as HTML; the evidence is looked for in the report folder `folder`, and nowhere with None.

    `problem`: what a reader has to know first, in a sentence.
    """
    composed = page.compose(results)
    provenance = Provenance(report=Path(), bundle=None) if folder is None else establish(results, folder)
    text = ""
    for room in (ROOM, ROOM // 4, 0):
        text = _page(composed, provenance, reads=folder is not None, room=room, problem=problem)
        if len(text.encode("utf-8", "replace")) <= MOST:
            break
    return text


def render_without_verdicts(results: Results, problem: str) -> str:
    """The least that can be said of a run: for when nothing else can be drawn."""
    template = _environment().get_template("bare.html.j2")
    name = shortened(str(results.target.get("name") or "the target"), page.TITLE)
    return template.render(name=name, overall=results.overall, problem=problem)


def _page(composed: Page, provenance: Provenance, *, reads: bool, room: int, problem: str) -> str:
    done = _experiments(composed, provenance, reads=reads, room=room)
    schedules = _schedules(composed)
    template = _environment().get_template("certificate.html.j2")
    return template.render(
        page=composed,
        results=composed.results,
        outcomes=words.OUTCOMES,
        no_requirement=page.NO_REQUIREMENT,
        listed=LISTED,
        problem=problem,
        wrong=_wrong(composed, provenance, done),
        dates=_dates(composed.results, [one.shown for one in done.values()]),
        chapters=_chapters(composed, done),
        chapters_left_out=sum(not any(done[i.place].html for i in chapter.items) for chapter in composed.chapters),
        targets={id_: target for one in done.values() for id_, target in one.targets.items()},
        exits=_exits(composed, done),
        schedules=schedules[:PICTURES],
        schedules_left_out=max(len(schedules) - PICTURES, 0),
        cut=sum(one.cut for one in done.values()),
    )


class _Done(NamedTuple):
    html: Markup
    """Empty where there was no room even for a line."""
    shown: Shown
    exits: tuple[float, ...]
    """Of all its runs."""
    cut: bool
    """Its timeline was left out, for want of room."""
    targets: dict[str, str]
    """Ids of its verdicts, and where on the page each of them is shown."""


def _experiments(composed: Page, provenance: Provenance, *, reads: bool, room: int) -> dict[str, _Done]:
    """The rendered experiments by their place; the ones that are not plain first, because they get the room first.

    Each of these has three times its share, or its part of half the room where that is more: one failure among
    thousands of scenarios that hold is shown in full. Some room is kept for those that come last: a line each tells
    more than one entry with a picture in it.
    """
    items = sorted((item for chapter in composed.chapters for item in chapter.items), key=lambda i: i.outcome == "pass")
    red = sum(item.outcome != "pass" for item in items)
    left = room
    done = {}
    for index, item in enumerate(items):
        rest = len(items) - index - 1
        most = max(left - min(rest * LINE, room // 4), 0)
        share = most // (rest + 1)
        if index < red:
            share = max(3 * share, most // 2 // (red - index))
        done[item.place] = one = _experiment(item, provenance, reads=reads, most=most, share=share)
        left -= _size(one.html)
    return done


def _experiment(item: Item, provenance: Provenance, *, reads: bool, most: int, share: int) -> _Done:
    """One of them, in about its share of the room, and never in more than `most` bytes."""
    share = min(share, most)
    detail = next(detail for least, detail in DETAILS if share >= least)
    shown = _read(item.evidence, provenance, detail) if reads and item.evidence is not None else Shown()
    others = [_read(evidence, provenance, NOTHING) for evidence in item.others] if reads else []
    problems = [*shown.problems, *(f"another run: {text}" for other in others for text in other.problems)]
    shown = replace(shown, problems=_few(problems))
    exits = tuple(one.exit_after for one in (shown, *others) if one.exit_after is not None)
    cut = reads and detail.room == 0 and item.evidence is not None
    if share >= FLOOR:
        full = item.outcome != "pass" and detail.room > 0
        html = _item(item, shown, full=full, cut=cut)
        if shown.timeline is not None and _size(html) > min(max(share, 2 * DETAILS[1][0]), most):
            shown, cut = replace(shown, timeline=None), True
            html = _item(item, shown, full=full, cut=cut)
        if _size(html) <= most:
            return _Done(html, shown, exits, cut, {j.place: j.place for j in item.judgements if j.place})
    line = _line(item, shown)
    fits = _size(line) <= max(most, LINE if share else 0)
    targets = {j.place: item.place for j in item.judgements if j.place} if fits else {}
    return _Done(line if fits else Markup(""), replace(shown, timeline=None), exits, cut, targets)


NOTHING = Detail(room=0, dull=0, log_lines=0)


def _read(evidence: str, provenance: Provenance, detail: Detail) -> Shown:
    try:
        folder = provenance.locate(evidence)
    except (HarnessError, OSError, ValueError) as error:
        return Shown(problems=(f"its evidence is not read: {error}",))
    shown = experiment.read(folder, detail)
    return replace(shown, problems=(*provenance.problems(folder), *shown.gaps, *shown.problems))


def _few(texts: Sequence[str]) -> tuple[str, ...]:
    """The first of them, and how many there are besides."""
    kept = tuple(shortened(text, words.SUMMARY) for text in dict.fromkeys(texts))
    more = len(kept) - PROBLEMS
    return (*kept[:PROBLEMS], f"… and {more} more") if more > 1 else kept


def _item(item: Item, shown: Shown, *, full: bool, cut: bool) -> Markup:
    template = _environment().get_template("experiment.html.j2")
    return Markup(
        template.render(
            item=item, shown=shown, full=full, cut=cut, outcomes=words.OUTCOMES, no_requirement=page.NO_REQUIREMENT
        )
    )


def _line(item: Item, shown: Shown) -> Markup:
    template = _environment().get_template("line.html.j2")
    return Markup(template.render(item=item, shown=shown, outcomes=words.OUTCOMES))


def _size(html: Markup) -> int:
    return len(html.encode("utf-8", "replace"))


class _Chapter(NamedTuple):
    title: str
    id: str
    items: list[Markup]
    left_out: int


def _chapters(composed: Page, done: dict[str, _Done]) -> list[_Chapter]:
    found = []
    for chapter in composed.chapters:
        items = [html for item in chapter.items if (html := done[item.place].html)]
        if items:
            found.append(_Chapter(chapter.title, chapter.id, items, len(chapter.items) - len(items)))
    return found


class _Wrong(NamedTuple):
    """What is wrong with the evidence, for the top of the page."""

    texts: tuple[str, ...]
    places: list[tuple[str, str]]
    """Of the experiments that are concerned: id and title."""
    more: int


def _wrong(composed: Page, provenance: Provenance, done: dict[str, _Done]) -> _Wrong:
    concerned = [item for chapter in composed.chapters for item in chapter.items if done[item.place].shown.problems]
    linked = [(item.place, item.title) for item in concerned if done[item.place].html][:PROBLEMS]
    return _Wrong(_few(provenance.elsewhere), linked, len(concerned) - len(linked))


def _dates(results: Results, shown: Iterable[Shown]) -> tuple[str, ...]:
    """When the run was; and where saved evidence was judged, when its experiments were made as well."""
    judged = page.moment(results.started)
    made = min((one.made for one in shown if one.made is not None), default=None)
    try:
        began = datetime.fromisoformat(results.started)
        first = None if made is None else datetime.fromtimestamp(made, tz=began.tzinfo or timezone.utc)
        if first is not None and (began if began.tzinfo else began.replace(tzinfo=timezone.utc)) - first > SLACK:
            return f"experiments {page.moment(first.isoformat())}", f"judged {judged}"
    except (ValueError, OverflowError, OSError):
        pass  # a date of somebody else's making
    return (judged,)


SLACK = timedelta(seconds=2)
"""A run begins before its first experiment; so much may the clocks that say so differ."""


def _exits(composed: Page, done: dict[str, _Done]) -> Markup | None:
    found: dict[str, list[float]] = {}
    grace: float | None = None
    for chapter in composed.chapters:
        for item in chapter.items:
            one = done[item.place]
            grace = one.shown.grace_period if grace is None else grace
            if one.exits:
                found.setdefault(chapter.title, []).extend(one.exits)
    return plots.exits(found, grace)


def _schedules(composed: Page) -> list[plots.Schedule]:
    """Of each scenario one, however often it was run, and the worst first."""
    verdicts: dict[tuple[str, str, str], Verdict] = {}
    for verdict in sorted(composed.results.verdicts, key=lambda v: WORST.index(v.verdict)):
        if plots.SCHEDULE in verdict.facts:
            verdicts.setdefault((verdict.situation, verdict.requirement, verdict.check), verdict)
    return [
        plots.Schedule(
            title=shortened(verdict.title, page.TITLE),
            summary=words.summary(verdict.summary),
            target=composed.places[verdict.situation, verdict.requirement],
            picture=picture,
        )
        for verdict in verdicts.values()
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
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    shown = [printable(line[: 4 * DETAIL_WIDTH]) for line in lines[:DETAIL_LINES]]
    kept = [line if len(line) <= DETAIL_WIDTH else line[:DETAIL_WIDTH] + "…" for line in shown]
    more = len(lines) - len(kept)
    return "\n".join(kept + ([f"… {more} more lines in results.json"] if more > 0 else []))


def short(text: str) -> str:
    """A sentence that somebody wrote, so long as a page can take."""
    return shortened(flat(text[: 4 * words.SUMMARY]), words.SUMMARY)


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
    made.filters.update(details=details, marked=marked, plural=words.plural, summary=words.summary, short=short)
    return made
