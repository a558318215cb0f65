"""What differs between two runs, told: for a terminal, as Markdown, as JSON."""

from __future__ import annotations

from typing import Any

from drainproof.comparison import KINDS, Change, Comparison, Kind
from drainproof.requirement import catalogue
from drainproof.text import flat
from drainproof.verdict import Results, Verdict

from drainproof_reports.markdown import escaped
from drainproof_reports.merging import DIGITS
from drainproof_reports.tables import table

TITLES: dict[Kind, str] = {
    "worse": "Worse",
    "untested": "Not tested any more",
    "better": "Better",
    "new": "Newly tested",
}


def ordered(comparison: Comparison, kind: Kind) -> list[Change]:
    """The changes of one kind, by requirement (as in the catalogue) and scenario."""
    places = {identity: place for place, identity in enumerate(catalogue())}
    return sorted(
        comparison.of(kind), key=lambda c: (places.get(c.requirement, len(places)), c.requirement, c.scenario, c.check)
    )


def counts(comparison: Comparison) -> str:
    """One line: how much there is of each."""
    parts = [f"{len(comparison.of(kind))} {TITLES[kind].lower()}" for kind in KINDS]
    return ", ".join([*parts, f"{comparison.unchanged} unchanged"])


def conclusion(comparison: Comparison) -> str:
    """Whether a gate may let the new run pass."""
    number = len(comparison.regressions)
    if not number:
        return "no regression"
    return f"{number} regression{'s' if number > 1 else ''}: worse, or held before and not tested any more"


def notes(old: Results, new: Results) -> list[str]:
    """In what the two runs are not alike, besides their verdicts: a difference may come from that."""
    found = []
    if old.specification != new.specification:
        specifications = [flat(run.specification) or "an unknown version" for run in (old, new)]
        found.append(f"judged by other requirements: {specifications[0]} (old), {specifications[1]} (new)")
    digests = [(run.target.get("digest") or {}).get("sha256", "") for run in (old, new)]
    if digests[0] != digests[1]:
        shown = [flat(digest)[:DIGITS] or "not known" for digest in digests]
        found.append(f"other software: its digest is {shown[0]} (old), {shown[1]} (new)")
    return found


def as_text(old: Results, new: Results, comparison: Comparison) -> str:
    """For a terminal."""
    lines = [f"old  {_run(old)}", f"new  {_run(new)}", *(f"note {note}" for note in notes(old, new))]
    for kind in KINDS:
        changes = ordered(comparison, kind)
        lines += ["", f"{TITLES[kind]} ({len(changes)})"] if changes else []
        for change in changes:
            lines.append(f"  {flat(change.requirement):<9} {flat(_title(change))}  [{flat(_check(change))}]")
            lines += [f"            {side}  {_side(verdict)}" for side, verdict in _sides(change)]
    return "\n".join([*lines, "", counts(comparison), conclusion(comparison)]) + "\n"


def as_markdown(old: Results, new: Results, comparison: Comparison) -> str:
    """For a comment or a summary."""
    lines = [f"**old** {escaped(_run(old))}  ", f"**new** {escaped(_run(new))}", "", f"{counts(comparison)}; "]
    lines[-1] += conclusion(comparison)
    lines += ["", *(f"* {escaped(note)}" for note in notes(old, new))] if notes(old, new) else []
    for kind in KINDS:
        changes = ordered(comparison, kind)
        if changes:
            head = ["requirement", "scenario", "old", "new"]
            lines += ["", f"### {TITLES[kind]}", "", *table(head, map(_markdown_row, changes))]
    return "\n".join(lines) + "\n"


def as_json(old: Results, new: Results, comparison: Comparison) -> dict[str, Any]:
    """For a program."""
    return {
        "format": 1,
        "old": _described(old),
        "new": _described(new),
        "notes": notes(old, new),
        "regressions": len(comparison.regressions),
        "unchanged": comparison.unchanged,
        "changes": [
            {
                "kind": change.kind,
                "regression": change.regression,
                "requirement": change.requirement,
                "scenario": change.scenario,
                "check": change.check,
                "title": _title(change),
                **{side: _brief(verdict) for side, verdict in _sides(change)},
            }
            for kind in KINDS
            for change in ordered(comparison, kind)
        ],
    }


def _run(results: Results) -> str:
    target = flat(str(results.target.get("name", "")))
    aborted = ", aborted" if results.aborted else ""
    return f"{target}  {results.started}  {results.overall}{aborted}, {len(results.verdicts)} verdicts"


def _described(results: Results) -> dict[str, Any]:
    return {
        "target": results.target.get("name"),
        "digest": results.target.get("digest"),
        "started": results.started,
        "overall": results.overall,
        "aborted": results.aborted,
        "specification": results.specification,
        "verdicts": len(results.verdicts),
    }


def _title(change: Change) -> str:
    verdict = change.new or change.old
    return "" if verdict is None else verdict.title


def _sides(change: Change) -> tuple[tuple[str, Verdict | None], ...]:
    return (("old", change.old), ("new", change.new))


def _check(change: Change) -> str:
    return f"{change.scenario} {change.check}"


def _markdown_row(change: Change) -> list[str]:
    where = f"{escaped(_title(change))}<br>{escaped(_check(change))}"
    return [escaped(change.requirement), where, escaped(_side(change.old)), escaped(_side(change.new))]


def _side(verdict: Verdict | None) -> str:
    return "not run" if verdict is None else f"{verdict.verdict}: {flat(verdict.summary)}"


def _brief(verdict: Verdict | None) -> dict[str, Any] | None:
    return None if verdict is None else {"verdict": verdict.verdict, "summary": verdict.summary}
