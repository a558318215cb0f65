"""The grid of requirements and scenarios, family by family: what holds where, to be taken in at a glance.

A hundred scenarios do not fit on a laptop as columns. But they come in classes (each with a variant for every signal,
recipient and number of workers), and few classes have to do with one family of requirements. So there is a grid for
each family, with the classes that judged it as columns; a cell has a small field for each variant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drainproof.requirement import Requirement
from drainproof.verdict import Outcome, Verdict

from drainproof_reports.certificate import words

WORST: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "note", "pass", "unsupported")
"""What decides where there are several: one that holds somewhere holds, though it may not apply elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A requirement in one scenario."""

    outcome: Outcome
    target: str
    """The id of the place on the page where it is shown."""
    says: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A requirement in all scenarios."""

    requirement: Requirement
    outcome: Outcome | None
    """None: no scenario of this run judged it."""
    cells: tuple[tuple[Field, ...], ...]
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
    requirements: Sequence[Requirement], verdicts: Sequence[Verdict], places: dict[tuple[str, str], str]
) -> tuple[Family, ...]:
    """The grids, in the order of `requirements`. `places`: scenario and requirement → where on the page it is shown."""
    names = dict.fromkeys(r.family or r.id for r in requirements)
    return tuple(
        _family(name, [r for r in requirements if (r.family or r.id) == name], verdicts, places) for name in names
    )


def _family(
    name: str, requirements: Sequence[Requirement], verdicts: Sequence[Verdict], places: dict[tuple[str, str], str]
) -> Family:
    ids = {requirement.id for requirement in requirements}
    mine = [verdict for verdict in verdicts if verdict.requirement in ids]
    columns = tuple(dict.fromkeys(class_of(verdict.scenario) for verdict in mine))
    return Family(
        id=name,
        title=words.FAMILIES.get(name, name),
        columns=tuple(map(words.scenario, columns)),
        rows=tuple(_row(r, [v for v in mine if v.requirement == r.id], columns, places) for r in requirements),
    )


def _row(
    requirement: Requirement,
    verdicts: Sequence[Verdict],
    columns: Sequence[str],
    places: dict[tuple[str, str], str],
) -> Row:
    by_scenario: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_scenario.setdefault(verdict.scenario, []).append(verdict)
    cells = [
        tuple(_field(same, places) for scenario, same in by_scenario.items() if class_of(scenario) == column)
        for column in columns
    ]
    return Row(requirement=requirement, outcome=worst(v.verdict for v in verdicts), cells=tuple(cells))


def _field(verdicts: Sequence[Verdict], places: dict[tuple[str, str], str]) -> Field:
    decides = min(verdicts, key=lambda verdict: WORST.index(verdict.verdict))
    return Field(
        outcome=decides.verdict,
        target=places[decides.scenario, decides.requirement],
        says=f"{words.variant(parameters_of(decides.scenario)) or 'one variant'}: {words.OUTCOMES[decides.verdict][1]}",
    )


def class_of(scenario: str) -> str:
    """The scenario without its parameters."""
    return scenario.partition("[")[0]


def parameters_of(scenario: str) -> str:
    """Its parameters alone."""
    return scenario.partition("[")[2].removesuffix("]")
