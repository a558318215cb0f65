"""`summary.md`: a run on one page of Markdown, which GitHub shows for a job (`GITHUB_STEP_SUMMARY`).

Everything that comes from a target is text and nothing else: no formatting, HTML, link, image, mention or reference to
an issue, whatever it holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from drainproof.text import flat, shortened
from drainproof.verdict import OUTCOMES, Outcome, Results, Verdict

from drainproof_reports import files

FILE = "summary.md"
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable by which GitHub Actions names the file to append to."""

LONGEST = 300
"""Characters of one text."""
MOST = 60
"""Rows of one table: GitHub takes no more than 1 MiB for a step."""
FACTS = 4

PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
REFERENCE = re.compile(r"[@#]")
ZERO_WIDTH = "\N{ZERO WIDTH SPACE}"
"""GitHub looks for mentions and references in the text that comes of the Markdown, where no backslash is left."""

SIGN: dict[str, str] = {
    "conforming": "✅",
    "conforming with notes": "✅",
    "not conforming": "❌",
    "incomplete": "❔",
}

SECTIONS: tuple[tuple[Outcome, str], ...] = (
    ("fail", "Does not hold"),
    ("inconclusive", "Could not be judged"),
    ("error", "drainproof failed"),
    ("note", "Notes"),
)


def escaped(text: str, *, longest: int = LONGEST) -> str:
    """`text` on one line, as Markdown that shows just these characters."""
    shown = shortened(flat(text), longest)
    return PUNCTUATION.sub(lambda c: "\\" + c[0] + (ZERO_WIDTH if REFERENCE.match(c[0]) else ""), shown)


def document(results: Results) -> str:
    """The content of the file."""
    target = results.target
    lines = [
        f"## {SIGN[results.overall]} {escaped(str(target.get('name', '')))}: {results.overall}",
        "",
        *(["**The run was aborted: what is missing here was not judged.**", ""] if results.aborted else []),
        _counts(results.verdicts),
        "",
    ]
    for outcome, heading in SECTIONS:
        lines += _section([v for v in results.verdicts if v.verdict == outcome], heading)
    if results.deselected:
        lines += [f"{results.deselected} checks were left out: what they would have said is not known.", ""]
    if results.gate is not None:
        lines += [f"Gate {escaped(results.gate.rule)}: {'open' if results.gate.passed else 'closed'}", ""]
        lines += [f"* {escaped(reason)}" for reason in results.gate.reasons[:MOST]]
        lines += [""] if results.gate.reasons else []
    lines += _about(results)
    return "\n".join(lines) + "\n"


def _counts(verdicts: Sequence[Verdict]) -> str:
    counted = [(sum(v.verdict == outcome for v in verdicts), outcome) for outcome in OUTCOMES]
    scenarios = len({v.scenario for v in verdicts})
    told = ", ".join(f"{count} {outcome}" for count, outcome in counted if count) or "nothing was judged"
    return f"{told} in {scenarios} scenario{'' if scenarios == 1 else 's'}."


def _section(verdicts: Sequence[Verdict], heading: str) -> list[str]:
    if not verdicts:
        return []
    rows = [
        f"| {escaped(v.requirement)} | {escaped(v.title)} | {_said(v)} | {escaped(_facts(v))} |"
        for v in verdicts[:MOST]
    ]
    more = len(verdicts) - MOST
    return [
        f"### {heading}",
        "",
        "| requirement | scenario | what was seen | facts |",
        "|---|---|---|---|",
        *rows,
        "",
        *([f"… and {more} more, in results.json.", ""] if more > 0 else []),
    ]


def _said(verdict: Verdict) -> str:
    known = "" if verdict.known is None else f" (known: {escaped(verdict.known.reason)})"
    return escaped(verdict.summary) + known


def _facts(verdict: Verdict) -> str:
    values = list(verdict.facts.items())[:FACTS]
    return ", ".join(f"{name} = {v if isinstance(v, str) else json.dumps(v, ensure_ascii=False)}" for name, v in values)


def _about(results: Results) -> list[str]:
    digest = results.target.get("digest")
    rows = [
        ("specification", results.specification),
        ("drainproof", str(results.versions.get("drainproof", ""))),
        ("target", "" if not digest else f"sha256:{digest['sha256']} ({digest['of']})"),
        ("started", results.started),
        ("command", results.command),
    ]
    return [
        "<details><summary>About this run</summary>",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {escaped(value)} |" for name, value in rows if value),
        "",
        "</details>",
    ]


def write(results: Results, path: Path) -> None:
    """Writes the file in one step. Raises OSError."""
    files.replace(path, document(results))


def append_to_step(results: Results) -> str | None:
    """Appends the page to the summary of the GitHub Actions step that this runs in, if it does.

    Returns why that failed; None where it did not, and where there is none.
    """
    place = os.environ.get(STEP_SUMMARY)
    if not place:
        return None
    try:
        with Path(place).open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(document(results) + "\n")
    except OSError as error:
        return f"the summary could not be appended to {STEP_SUMMARY}={place}: {error.strerror or error}"
    return None
