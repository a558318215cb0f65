"""Annotations of GitHub Actions: what failed, as workflow commands on the standard output.

GitHub shows ten errors and ten warnings of a step, so there is one for each requirement, and the last one tells of the
rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from drainproof.text import flat, shortened
from drainproof.verdict import RED, Results, Verdict
from drainproof.workflow_commands import escaped_data, escaped_property

MOST = 10
LONGEST = 1000


def commands(results: Results) -> list[str]:
    """The lines to print."""
    red = [verdict for verdict in results.verdicts if verdict.verdict in RED]
    notes = [verdict for verdict in results.verdicts if verdict.verdict == "note"]
    return [*_of_level("error", red), *_of_level("warning", notes)]


def _of_level(level: str, verdicts: Iterable[Verdict]) -> list[str]:
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict.requirement, verdict.verdict), []).append(verdict)
    texts = [_text(group) for group in groups.values()]
    if len(texts) > MOST:
        rest = [title for title, _ in texts[MOST - 1 :]]
        texts = [*texts[: MOST - 1], (f"drainproof: {len(rest)} more", ", ".join(rest))]
    return [f"::{level} title={escaped_property(title)}::{escaped_data(message)}" for title, message in texts]


def _text(group: list[Verdict]) -> tuple[str, str]:
    first = group[0]
    outcome = {"fail": "does not hold", "note": "does not hold (SHOULD)"}.get(first.verdict, first.verdict)
    others = f"\nand in {len(group) - 1} more" if len(group) > 1 else ""
    message = f"{flat(first.title)}: {flat(first.summary)}"
    rule = f"\nrule: {flat(first.rule)}" if first.rule else ""
    return f"drainproof: {flat(first.requirement)} {outcome}", shortened(message, LONGEST) + others + rule
