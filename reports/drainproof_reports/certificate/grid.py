"""The grid of requirements and scenarios, family by family: what holds where, to be taken in at a glance.

A hundred scenarios do not fit on a laptop as columns. But they come in classes (each with a variant for every signal,
recipient and number of workers), and few classes have to do with one family of requirements. So there is a grid for
each family, with the classes that judged it as columns; a cell has a small field for each variant. However often a
variant was run, it has one field, of its worst run. Where there are more classes or variants than a page can show, the
worst are shown and the others counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from drainproof.requirement import Requirement
from drainproof.text import shortened
from drainproof.verdict import Outcome, Verdict

from drainproof_reports.certificate import words

WORST: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "note", "pass", "unsupported")
"""What decides where there are several: one that holds somewhere holds, though it may not apply elsewhere."""


COLUMNS = 40
"""Classes that have a column of their own; further ones share one."""

FIELDS = 3000
"""All fields together, about."""

MOST = (60, 20, 8, 4, 2, 1)
"""How many fields a cell may have: the first of these that keeps the whole grid small enough."""


NAME = 80
"""Characters of a variant's name."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A requirement in one scenario."""

    outcome: Outcome
    target: str
    """The id of the place on the page where it is shown."""
    says: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A requirement in all variants of a class."""

    fields: tuple[Field, ...]
    more: int
    """So many others came out no worse than these."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A requirement in all scenarios."""

    requirement: Requirement
    outcome: Outcome | None
    """None: no scenario of this run judged it."""
    cells: tuple[Cell, ...]
    """By column."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """The grid of one family."""

    id: str
    title: str
    columns: tuple[str, ...]
    """The scenario classes in words."""
    rows: tuple[Row, ...]

    @property
    def judged(self) -> int:
        """How many of its requirements were judged."""
        return sum(row.outcome is not None for row in self.rows)


def worst(outcomes: Iterable[Outcome]) -> Outcome | None:
    """The one that decides; None where there is none."""
    return min(outcomes, key=WORST.index, default=None)


def family_of(requirement_id: str) -> str:
    """The part of an id in front of its number."""
    return requirement_id.rpartition("-")[0] or requirement_id


def families(
    requirements: Sequence[Requirement], verdicts: Sequence[Verdict], places: Mapping[tuple[str, str], str]
) -> tuple[Family, ...]:
    """The grids, in the order of `requirements`. `places`: situation and requirement → its id on the page."""
    names = dict.fromkeys(r.family or r.id for r in requirements)
    by_requirement: dict[str, dict[str, list[Verdict]]] = {}
    for verdict in verdicts:
        by_requirement.setdefault(verdict.requirement, {}).setdefault(verdict.situation, []).append(verdict)
    sizes = Counter((id_, class_of(name)) for id_, found in by_requirement.items() for name in found)
    most = next((most for most in MOST if sum(min(size, most) for size in sizes.values()) <= FIELDS), MOST[-1])
    return tuple(
        _family(name, [r for r in requirements if (r.family or r.id) == name], by_requirement, places, most)
        for name in names
    )


def _family(
    name: str,
    requirements: Sequence[Requirement],
    by_requirement: Mapping[str, Mapping[str, Sequence[Verdict]]],
    places: Mapping[tuple[str, str], str],
    most: int,
) -> Family:
    mine = [by_requirement.get(requirement.id, {}) for requirement in requirements]
    classes = list(dict.fromkeys(class_of(situation) for found in mine for situation in found))
    own = classes if len(classes) <= COLUMNS else classes[: COLUMNS - 1]
    columns = {class_: own.index(class_) if class_ in own else len(own) for class_ in classes}
    rest = len(classes) - len(own)
    titles = [*map(words.scenario, own), *([f"{rest} more classes"] if rest else [])]
    return Family(
        id=name,
        title=words.FAMILIES.get(name, name),
        columns=tuple(titles),
        rows=tuple(
            Row(
                requirement=requirement,
                outcome=worst(v.verdict for verdicts in found.values() for v in verdicts),
                cells=tuple(_cell(cell, places, most) for cell in _cells(found, columns, len(titles))),
            )
            for requirement, found in zip(requirements, mine, strict=True)
        ),
    )


def _cells(
    by_situation: Mapping[str, Sequence[Verdict]], columns: Mapping[str, int], width: int
) -> list[list[Verdict]]:
    """By column, the verdict that decides in each situation."""
    cells: list[list[Verdict]] = [[] for _ in range(width)]
    for situation, verdicts in by_situation.items():
        decides = min(verdicts, key=lambda verdict: WORST.index(verdict.verdict))
        cells[columns[class_of(situation)]].append(decides)
    return cells


def _cell(verdicts: Sequence[Verdict], places: Mapping[tuple[str, str], str], most: int) -> Cell:
    shown = verdicts
    if len(verdicts) > most:
        shown = sorted(verdicts, key=lambda verdict: WORST.index(verdict.verdict))[:most]
    return Cell(fields=tuple(_field(verdict, places) for verdict in shown), more=len(verdicts) - len(shown))


def _field(decides: Verdict, places: Mapping[tuple[str, str], str]) -> Field:
    variant = words.variant(parameters_of(decides.situation)) or "one variant"
    return Field(
        outcome=decides.verdict,
        target=places[decides.situation, decides.requirement],
        says=f"{shortened(variant, NAME)}: {words.OUTCOMES[decides.verdict][1]}",
    )


def class_of(scenario: str) -> str:
    """The scenario without its parameters."""
    return scenario.partition("[")[0]


def parameters_of(scenario: str) -> str:
    """Its parameters alone."""
    return scenario.partition("[")[2].removesuffix("]")
