"""Several runs as one grid: requirements down, targets across.

Runs of the same target (its name, its launch mode, and the digest of its software) by the same specification share a
column, since a long run may be made in parts or on several machines. Where two of them judged the same check and do not
agree, the worse outcome counts: a rule that was broken once is broken. A cell has the worst outcome of all checks of
its requirement.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from drainproof.requirement import catalogue
from drainproof.text import flat
from drainproof.verdict import Outcome, Overall, Results, Verdict

from drainproof_reports.markdown import escaped
from drainproof_reports.tables import table

WORST: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "note", "pass", "unsupported")
"""The outcomes, those that decide first: a rule that applies somewhere is not unsupported."""

SIGNS: dict[Outcome, str] = {
    "pass": "✓",
    "fail": "✗",
    "note": "n",
    "inconclusive": "?",
    "unsupported": "·",
    "error": "!",
}
"""What a cell shows before its words: never a colour alone."""

NOT_TESTED = "not tested"

DIGITS = 12
"""Of a digest, in the title of a column."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One target."""

    name: str
    launch: str
    results: Results
    """All its runs as one."""
    sources: tuple[str, ...]
    """The report folders."""
    contradictions: int
    """How many checks its runs do not agree on."""
    mark: str = ""
    """What tells it from another column of the same target: the digest of the software, the specification."""

    @property
    def title(self) -> str:
        """As the grid shows it."""
        told = ", ".join(part for part in ("" if self.launch == "process" else self.launch, self.mark) if part)
        return f"{self.name} ({told})" if told else self.name

    @property
    def overall(self) -> Overall:
        """The verdict on the target."""
        return self.results.overall


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One requirement of one target."""

    outcome: Outcome
    """The worst one."""
    number: int
    """How many checks have it."""
    checks: int
    """How many checks there are."""
    told: Verdict
    """One that has it."""

    @property
    def words(self) -> str:
        """`✗ fail 2 of 14`."""
        much = f"{self.number}" if self.number == self.checks else f"{self.number} of {self.checks}"
        return f"{SIGNS[self.outcome]} {self.outcome} {much}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One requirement."""

    requirement: str
    level: str
    title: str
    cells: tuple[Cell | None, ...]
    """One for each column; None where it was not tested."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All of it."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def merge(runs: Iterable[tuple[str, Results]]) -> Grid:
    """The grid of `runs`, each with the name of its report folder."""
    groups: dict[Group, list[tuple[str, Results]]] = {}
    for source, results in runs:
        groups.setdefault(_group(results), []).append((source, results))
    columns = tuple(_column(group, _mark(group, groups), parts) for group, parts in groups.items())
    known = catalogue()
    tested = {verdict.requirement: verdict for column in columns for verdict in column.results.verdicts}
    order = [*(identity for identity in known if identity in tested), *sorted(set(tested) - set(known))]
    return Grid(columns=columns, rows=tuple(_row(identity, tested[identity], columns) for identity in order))


class Group(NamedTuple):
    """What runs have in common that share a column."""

    name: str
    launch: str
    digest: str
    """Of the software; empty where it is not known."""
    specification: str


def _group(results: Results) -> Group:
    target = results.target
    return Group(
        name=str(target.get("name", "")),
        launch=str(target.get("manifest", {}).get("launch") or "process"),
        digest=(target.get("digest") or {}).get("sha256", ""),
        specification=results.specification,
    )


def _mark(group: Group, groups: Iterable[Group]) -> str:
    """In what it differs from the other groups of the same target; empty where there is none."""
    others = [other for other in groups if other[:2] == group[:2]]
    parts = []
    if len({other.digest for other in others}) > 1:
        parts.append(f"digest {group.digest[:DIGITS]}" if group.digest else "digest not known")
    if len({other.specification for other in others}) > 1:
        parts.append(f"specification {group.specification or 'not known'}")
    return ", ".join(parts)


def _column(group: Group, mark: str, parts: Sequence[tuple[str, Results]]) -> Column:
    verdicts: dict[tuple[str, str], Verdict] = {}
    contradictions = set()
    for _, results in parts:
        for verdict in results.once().verdicts:
            key = (verdict.scenario, verdict.check)
            before = verdicts.get(key, verdict)
            if before.verdict != verdict.verdict:
                contradictions.add(key)
            verdicts[key] = min(before, verdict, key=lambda v: WORST.index(v.verdict))
    first = parts[0][1]
    # Each part of a run left out what the others did: what nobody judged is what is missing from the largest selection.
    whole = max(_selectable(results) for _, results in parts)
    merged = replace(
        first,
        verdicts=tuple(verdicts.values()),
        aborted=any(results.aborted for _, results in parts),
        deselected=max(0, whole - len(verdicts)),
        bundle=None,
        gate=None,
        stale=(),
    )
    sources = tuple(source for source, _ in parts)
    return Column(
        name=group.name,
        launch=group.launch,
        results=merged,
        sources=sources,
        contradictions=len(contradictions),
        mark=mark,
    )


def _selectable(results: Results) -> int:
    """How many checks the run could have had, each counted once: repetitions are left out as often as they are run."""
    times = max((verdict.repetition for verdict in results.verdicts), default=0) or 1
    return len(results.once().verdicts) + math.ceil(results.deselected / times)


def _row(identity: str, verdict: Verdict, columns: Sequence[Column]) -> Row:
    known = catalogue().get(identity)
    return Row(
        requirement=identity,
        level=verdict.level,
        title=known.title if known is not None else verdict.rule,
        cells=tuple(_cell(identity, column.results) for column in columns),
    )


def _cell(identity: str, results: Results) -> Cell | None:
    verdicts = [verdict for verdict in results.verdicts if verdict.requirement == identity]
    if not verdicts:
        return None
    told = min(verdicts, key=lambda verdict: WORST.index(verdict.verdict))
    counted = Counter(verdict.verdict for verdict in verdicts)
    return Cell(outcome=told.verdict, number=counted[told.verdict], checks=len(verdicts), told=told)


def as_text(grid: Grid) -> str:
    """For a terminal."""
    head = ["", "", *(flat(column.title) for column in grid.columns)]
    rows = [[flat(row.requirement), row.level, *(_words(each) for each in row.cells)] for row in grid.rows]
    last = ["overall", "", *(column.overall for column in grid.columns)]
    widths = [max(len(line[i]) for line in (head, *rows, last)) for i in range(len(head))]

    def written(line: Sequence[str]) -> str:
        return "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()

    lines = [written(head), written(["-" * width for width in widths]), *map(written, rows), written(last)]
    notes = [f"{flat(column.title)}: {note}" for column in grid.columns for note in notes_of(column)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def as_markdown(grid: Grid) -> str:
    """For a page or a comment."""
    head = ["requirement", "", *(escaped(column.title) for column in grid.columns)]
    rows = [
        [
            f"**{escaped(row.requirement)}** {escaped(row.title)}",
            row.level,
            *(escaped(_words(each)) for each in row.cells),
        ]
        for row in grid.rows
    ]
    last = ["**overall**", "", *(f"**{column.overall}**" for column in grid.columns)]
    notes = [f"* {escaped(column.title)}: {escaped(note)}" for column in grid.columns for note in notes_of(column)]
    return "\n".join([*table(head, [*rows, last]), *([""] if notes else []), *notes]) + "\n"


def as_json(grid: Grid) -> dict[str, Any]:
    """For a program."""
    return {
        "format": 1,
        "columns": [
            {
                "target": column.name,
                "launch": column.launch,
                "digest": column.results.target.get("digest"),
                "overall": column.overall,
                "aborted": column.results.aborted,
                "specification": column.results.specification,
                "sources": list(column.sources),
                "contradictions": column.contradictions,
            }
            for column in grid.columns
        ],
        "rows": [
            {
                "requirement": row.requirement,
                "level": row.level,
                "title": row.title,
                "cells": [None if each is None else _brief(each) for each in row.cells],
            }
            for row in grid.rows
        ],
    }


def as_html(grid: Grid) -> str:
    """One page that needs nothing else: no network, no script."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - only this form needs it

    environment = Environment(
        loader=PackageLoader("drainproof_reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["flat"] = flat
    return environment.get_template("merged.html.j2").render(grid=grid, not_tested=NOT_TESTED, notes_of=notes_of)


def notes_of(column: Column) -> list[str]:
    """What has to be said of a column as a whole."""
    notes = []
    if len(column.sources) > 1:
        notes.append(f"{len(column.sources)} runs: {', '.join(map(flat, column.sources))}")
    if column.contradictions:
        checks = "check" if column.contradictions == 1 else "checks"
        notes.append(f"{column.contradictions} {checks} came to different outcomes; the worse one counts")
    if column.results.aborted:
        notes.append("a run did not reach its end")
    return notes


def _words(found: Cell | None) -> str:
    return NOT_TESTED if found is None else found.words


def _brief(found: Cell) -> dict[str, Any]:
    return {
        "verdict": found.outcome,
        "number": found.number,
        "checks": found.checks,
        "scenario": found.told.scenario,
        "summary": found.told.summary,
    }


def label(path: Path) -> str:
    """How a source is called: by its folder."""
    return str(path.parent if path.is_file() else path)
