"""The summary at the end of the terminal output: what a tired person needs to know, and where to look next."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from drainproof.text import Line, flat, printable, shortened
from drainproof.verdict import OUTCOMES, RED, Gate, Known, Outcome, Results, Verdict

from drainproof_reports import certificate, pods, repetitions

FULL = 3
"""Scenarios of a group that are shown in full."""

SHORT = 8
"""Further scenarios of a group that get a line each."""

FACTS = 3
DETAIL_LINES = 8
GATE_LINES = 20
SCHEDULE = "schedule"
"""The fact of a verdict whose details show a schedule, which is worth seeing also where it was kept."""

NUMBER = re.compile(r"\d+(\.\d+)?")

WORDS: dict[Outcome, tuple[str, str]] = {
    "fail": ("FAIL", "red bold"),
    "error": ("ERROR", "red bold"),
    "inconclusive": ("INCONCLUSIVE", "red bold"),
    "note": ("note", "yellow"),
    "unsupported": ("unsupported", ""),
}


def summary(results: Results, *, folder: Path, width: int, written: bool = True) -> list[Line]:
    """All lines; `folder` is the report folder as it should be shown, `width` the columns of the terminal.

    `written`: whether there are reports in the folder that can be named.
    """
    lines: list[Line] = []
    for group in _groups([v for v in results.verdicts if v.verdict in RED and v.known is None]):
        lines += [*_red(group, folder, width), Line("")]
    lines += _known([v for v in results.verdicts if v.known is not None], width)
    for outcome in ("note", "unsupported"):
        lines += _brief([v for v in results.verdicts if v.verdict == outcome and v.known is None], width)
    lines += _schedules([v for v in results.verdicts if v.verdict == "pass" and SCHEDULE in v.facts], width)
    lines += pods.lines(results, width)
    lines += repetitions.lines(results, width)
    return [*lines, *_closing(results, folder if written else None, width)]


def _groups(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """What belongs together: failures of one requirement; anything else by what it says, numbers aside."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        shared = verdict.requirement if verdict.verdict == "fail" else NUMBER.sub("#", verdict.summary)
        groups.setdefault((verdict.verdict, shared), []).append(verdict)
    return sorted(groups.values(), key=lambda group: ("fail", "error", "inconclusive").index(group[0].verdict))


def _red(group: Sequence[Verdict], folder: Path, width: int) -> list[Line]:
    """A group: what it is about, the first scenarios in full, and the others in short."""
    word, style = WORDS[group[0].verdict]
    ids = list(dict.fromkeys(verdict.requirement for verdict in group))
    lines = _wrapped(f"{word}  ", ", ".join(ids), width, style)
    if len(ids) == 1:
        lines += _labelled("rule", group[0].rule, width)
    scenarios: dict[str, list[Verdict]] = {}
    for verdict in group:
        # Checks that fail have facts of their own; what kept others from a judgement is the same for all of a scenario.
        key = f"{verdict.scenario} {verdict.check}" if verdict.verdict == "fail" else verdict.scenario
        scenarios.setdefault(key, []).append(verdict)
    for of_one in list(scenarios.values())[:FULL]:
        first = of_one[0]
        lines += [Line(""), *_wrapped("      ", first.title, width, "bold"), *_labelled("", first.summary, width)]
        lines += _evidence(first, folder, width)
    others = [of_one[0] for of_one in scenarios.values()][FULL:]
    if others:
        lines += [Line(""), Line(f"      and in {len(others)} more:", "bold")]
        lines += [Line("      " + shortened(f"{v.title}: {v.summary}", width - 6)) for v in others[:SHORT]]
    if len(others) > SHORT:
        lines.append(Line(f"      … {len(others) - SHORT} more in results.json"))
    return lines


def _evidence(verdict: Verdict, folder: Path, width: int) -> list[Line]:
    """What proves a verdict: facts, details, where the rest of it is, and how to see it again."""
    facts = "   ".join(f"{flat(name)} = {_value(value)}" for name, value in list(verdict.facts.items())[:FACTS])
    details = [line for line in printable(verdict.details).split("\n") if line.strip()]
    hidden = len(details) - DETAIL_LINES
    return [
        *(_labelled("facts", facts, width) if facts else []),
        *[Line(" " * 6 + "| " + shortened(line, width - 8)) for line in details[:DETAIL_LINES]],
        *([Line(" " * 6 + f"| … {hidden} more lines in results.json")] if hidden > 0 else []),
        *([Line(f"      {'see':<8} {flat(_joined(folder, verdict.evidence))}")] if verdict.evidence else []),
        *([Line(f"      {'repeat':<8} {flat(verdict.repeat)}")] if verdict.repeat else []),
    ]


def _joined(folder: Path, relative: str) -> str:
    """The path of an evidence folder; it may lie outside of the report folder."""
    parts: list[str] = []
    for part in (folder / relative).parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts)) if parts else "."


def _known(verdicts: Sequence[Verdict], width: int) -> list[Line]:
    """What does not hold and is declared as known: once for each declaration, with its reason."""
    declared: dict[Known, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.known is not None:
            declared.setdefault(verdict.known, []).append(verdict)
    lines = []
    for known, same in declared.items():
        titles = list(dict.fromkeys(verdict.title for verdict in same))
        where = titles[0] if len(titles) == 1 else f"{len(titles)} scenarios"
        text = f"{same[0].requirement}  {same[0].summary} ({where}): {known.reason}, {known.link}"
        lines += _wrapped("known  ", text, width, "yellow")
    return [*lines, Line("")] if lines else []


def _stale(results: Results, width: int) -> list[Line]:
    """The declarations of known failures that nothing needs any more."""
    lines = []
    for stale in results.stale:
        text = (
            f"{stale.known.id} is declared as a known failure: {stale.why} ({stale.known.reason}, {stale.known.link})"
        )
        lines += _wrapped("stale  ", text, width, "yellow")
    return lines


def _gate(gate: Gate, width: int) -> list[Line]:
    """Whether the gate is open, each thing that closes it, and what else is to be known."""
    word, style = ("open", "green bold") if gate.passed else ("closed", "red bold")
    lines = [Line(shortened(f"Gate {gate.rule}: {word}", width), style)]
    for texts, label, colour in ((gate.reasons, "closed by", "red"), (gate.remarks, "remark", "")):
        for text in texts[:GATE_LINES]:
            lines += _wrapped(f"  {label}  ", text, width, colour)
        if len(texts) > GATE_LINES:
            lines.append(Line(f"  … {len(texts) - GATE_LINES} more in results.json", colour))
    return lines


def _brief(verdicts: Sequence[Verdict], width: int) -> list[Line]:
    """One line for each thing that is said, however often: notes, and rules that do not apply.

    What is said of several rules is said once for all of them: without a Docker engine, no rule applies.
    """
    said: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        said.setdefault(verdict.summary, []).append(verdict)
    lines = []
    for text, same in said.items():
        word, style = WORDS[same[0].verdict]
        ids = list(dict.fromkeys(verdict.requirement for verdict in same))
        titles = list(dict.fromkeys(verdict.title for verdict in same))
        where = titles[0] if len(titles) == 1 else f"{len(titles)} scenarios"
        which = ", ".join(ids) if len(ids) <= SHORT else f"{len(ids)} requirements"
        lines += _wrapped(f"{word}  ", f"{which}  {text} ({where})", width, style)
    return [*lines, Line("")] if lines else []


def _schedules(verdicts: Sequence[Verdict], width: int) -> list[Line]:
    """What was observed beside what is declared."""
    lines = []
    for verdict in verdicts:
        lines += _wrapped(f"{verdict.requirement}  ", verdict.title, width, "")
        details = [line for line in printable(verdict.details).split("\n") if line.strip()]
        lines += [Line(" " * 6 + "| " + shortened(line, width - 8)) for line in details[:DETAIL_LINES]]
    return [*lines, Line("")] if lines else []


def _closing(results: Results, folder: Path | None, width: int) -> list[Line]:
    """The last word: what it comes down to, the counts, and where the files are."""
    name = flat(str(results.target.get("name", "the target")))
    broken = list(dict.fromkeys(v.requirement for v in results.verdicts if v.verdict == "fail"))
    unsure = list(dict.fromkeys(v.requirement for v in results.verdicts if v.verdict in ("inconclusive", "error")))
    must = {v.requirement for v in results.verdicts if v.level == "MUST" and v.verdict == "pass"}
    new = {v.requirement for v in results.verdicts if v.verdict == "fail" and v.known is None}
    if broken:
        rest = f" {', '.join(unsure)} could not be judged everywhere." if unsure else ""
        ids = ", ".join(each if each in new else f"{each} (known)" for each in broken)
        word, style = f"{name} does not keep {ids}.{rest}", "red bold" if new or unsure else "yellow bold"
    elif not any(v.verdict in ("pass", "note") for v in results.verdicts):
        word, style = f"Nothing could be judged of {name}.", "red bold"
    elif unsure:
        word, style = f"{name} broke no rule that could be judged; {', '.join(unsure)} could not be judged.", "red bold"
    elif must and results.aborted:
        word, style = f"{name} kept the {len(must)} MUST requirements that were judged until then.", "yellow bold"
    elif must:
        word, style = f"{name} keeps all {len(must)} MUST requirements that were judged.", "green bold"
    else:
        word, style = f"No MUST requirement was judged for {name}.", "yellow bold"
    numbers = {outcome: sum(v.verdict == outcome for v in results.verdicts) for outcome in OUTCOMES}
    counts = ", ".join(
        f"{number} {outcome}{'s' if number > 1 and outcome in ('note', 'error') else ''}"
        for outcome, number in numbers.items()
        if number
    )
    known = sum(v.known is not None for v in results.verdicts)
    counts += f" ({known} known)" if known else ""
    runs, scenarios = len({v.scenario for v in results.verdicts}), len({v.situation for v in results.verdicts})
    where = f"{scenarios} scenario{'' if scenarios == 1 else 's'}"
    if runs > scenarios:
        where = f"{runs} runs of {where}"
    lines = [
        *_wrapped("", word, width, style),
        Line(
            f"{counts or 'no verdicts'} in {where}, "
            + (f"{results.deselected} checks left out, " if results.deselected else "")
            + _duration(results.seconds)
        ),
    ]
    if folder is not None:
        beside = "results.json", "junit.xml"
        if certificate.is_due(results):
            lines.append(Line(f"Report: {folder / certificate.FILE}, and {' and '.join(beside)} beside it"))
        else:
            lines.append(Line(f"Reports: {', '.join(str(folder / name) for name in beside)}"))
    lines += _stale(results, width)
    if results.gate is not None:
        lines += _gate(results.gate, width)
    if results.aborted:
        lines.insert(0, Line("The run was aborted: what is missing here was not judged.", "red bold"))
    return lines


def _labelled(label: str, text: str, width: int) -> list[Line]:
    return _wrapped(f"      {label:<8} " if label else "      ", text, width, "")


def _wrapped(start: str, text: str, width: int, style: str) -> list[Line]:
    """`text` after `start`, wrapped; further lines are indented to where the first one's text begins."""
    wrapped = textwrap.wrap(flat(text), max(width - len(start), 20), break_on_hyphens=False, break_long_words=False)
    return [Line((start if i == 0 else " " * len(start)) + part, style) for i, part in enumerate(wrapped or [""])]


def _value(value: object) -> str:
    """A fact, short."""
    if isinstance(value, str):
        return shortened(value, 60)
    return shortened(json.dumps(value, ensure_ascii=False), 60)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
