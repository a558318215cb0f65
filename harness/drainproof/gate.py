"""Whether a run may pass: what is asked of it as a whole, and each reason why it does not hold.

Three rules. `must`: nothing is red. `must+should`: no SHOULD is broken either. `no-regression:BASELINE`: nothing is
worse than it was in an earlier run, nothing that held there is untested here, and nothing is red that was not red
there for the same cause; what was, may stay so, and is listed. A failure where the baseline says inconclusive or error
is new: nobody has ever seen that it is an old one. Under each of them a run that was aborted or judged nothing, or in
which anything went wrong besides the checks, does not pass, and a failure that is declared as known does.

Pure: it sees results alone. What two runs differ in is said by `comparison`; runs with repetitions are compared by the
worst of each check, so that a check that fails in one of twenty runs is as red as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from drainproof.comparison import Change, compare
from drainproof.errors import UserError
from drainproof.nearest import did_you_mean
from drainproof.verdict import RED, Gate, Outcome, Results, Verdict, judged_nothing

Kind = Literal["must", "must+should", "no-regression"]

KINDS: tuple[Kind, ...] = ("must", "must+should", "no-regression")

WORDS: dict[Outcome, str] = {
    "fail": "does not hold",
    "note": "does not hold (a SHOULD)",
    "inconclusive": "is inconclusive",
    "error": "could not be judged for an error",
    "unsupported": "does not apply",
    "pass": "holds",
}

Sentence = tuple[str, str, str]
"""What is said of a requirement: its id, what about it, and of which scenario with which words of its verdict."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is asked of a run."""

    given: str
    """As the user wrote it."""
    kind: Kind
    baseline: Results | None = None
    """The earlier run; only with `no-regression`."""


def parse(given: str) -> tuple[Kind, str]:
    """The kind of a rule, and the path of its baseline (empty where it has none). Raises UserError."""
    kind, colon, path = given.partition(":")
    expected = f"expected one of must, must+should, no-regression:BASELINE.{did_you_mean(kind, KINDS)}"
    if kind == "no-regression":
        if not path:
            raise UserError(
                "needs the results to compare with: no-regression:BASELINE, a results.json or a report folder"
            )
        return "no-regression", path
    if colon:
        raise UserError(f"only no-regression takes something behind a colon; {expected}")
    for known in KINDS:
        if kind == known:
            return known, ""
    raise UserError(expected)


def judge(rule: Rule, results: Results, *, failed_besides: Sequence[str] = (), problems: Sequence[str] = ()) -> Gate:
    """Whether `results` may pass by `rule`.

    `failed_besides`: tests that failed in the run and are no verdicts, such as a clean-up after a check. `problems`: a
    sentence for whatever else went wrong.
    """
    once = results.once()
    reasons = []
    if results.aborted:
        reasons.append("the run was aborted: what is missing was not judged")
    if judged_nothing(verdict.verdict for verdict in once.verdicts):
        reasons.append("nothing was judged")
    if failed_besides:
        more = f" and {len(failed_besides) - 1} more" if len(failed_besides) > 1 else ""
        reasons.append(f"not a check, and failed: {failed_besides[0]}{more}")
    reasons += problems
    if rule.baseline is None:
        closing, remarks = _absolute(rule.kind, once)
    else:
        closing, remarks = _compared(rule.baseline.once(), once)
    reasons += closing
    if results.deselected:
        remarks.append(f"{results.deselected} checks were left out by the selection: nothing is said of them")
    return Gate(rule=rule.given, passed=not reasons, reasons=tuple(reasons), remarks=tuple(remarks))


def _absolute(kind: Kind, results: Results) -> tuple[list[str], list[str]]:
    """What closes the gate by `must` or `must+should`, and what is to be remarked."""
    closing = RED if kind == "must" else RED | {"note"}
    found = [verdict for verdict in results.verdicts if verdict.verdict in closing]
    known = [verdict for verdict in found if verdict.known is not None]
    new = [verdict for verdict in found if verdict.known is None]
    return _told(new, lambda v: WORDS[v.verdict]), _told(known, _known)


def _compared(baseline: Results, results: Results) -> tuple[list[str], list[str]]:
    """What closes the gate by `no-regression`, and what is to be remarked."""
    comparison = compare(baseline, results)
    regressions = [c for c in comparison.regressions if c.new is None or c.new.known is None]
    before = {(v.requirement, v.scenario, v.check): v for v in baseline.verdicts}
    worse = {(c.requirement, c.scenario, c.check) for c in regressions}
    new: list[Verdict] = []
    allowed: list[Verdict] = []
    for verdict in results.verdicts:
        key = (verdict.requirement, verdict.scenario, verdict.check)
        if verdict.verdict in RED and verdict.known is None and key not in worse:
            was = before.get(key)
            (allowed if was is not None and _same_cause(was, verdict) else new).append(verdict)
    reasons = [
        *_sentences(_worse(change) for change in regressions if change.kind == "worse"),
        *_sentences(_untested(change) for change in regressions if change.kind == "untested"),
        *_told(new, lambda v: f"{WORDS[v.verdict]}, and the baseline {_had(before, v)}"),
    ]
    remarks = [
        *_told(allowed, lambda v: f"{WORDS[v.verdict]}; the baseline {_had(before, v)} already"),
        *_told([v for v in results.verdicts if v.known is not None], _known),
    ]
    return reasons, [*remarks, *_told_apart(baseline, results)]


def _same_cause(was: Verdict, verdict: Verdict) -> bool:
    """Whether a red verdict is what the baseline has as well: broken both times, or not judged both times."""
    return was.verdict in RED and (was.verdict == "fail") == (verdict.verdict == "fail")


def _told_apart(baseline: Results, results: Results) -> list[str]:
    """In which ways the two runs are not alike, so that a difference may come from that."""
    remarks = []
    if baseline.aborted:
        remarks.append("the baseline was aborted: what it did not get to is new here")
    if baseline.specification != results.specification:
        remarks.append(
            f"the baseline was judged by the requirements of {baseline.specification or 'an unknown version'}, this "
            f"run by those of {results.specification}: a difference may come from a rule that was sharpened"
        )
    before, now = (str(run.target.get("manifest", {}).get("launch", "process")) for run in (baseline, results))
    if before != now:
        remarks.append(f"the baseline was launched as {before}, this run as {now}: they do not have the same checks")
    return remarks


def _known(verdict: Verdict) -> str:
    assert verdict.known is not None
    return f"{WORDS[verdict.verdict]}, which is known: {verdict.known.reason} ({verdict.known.link})"


def _worse(change: Change) -> Sentence:
    assert change.old is not None  # what got worse was judged both times
    assert change.new is not None
    was = "held" if change.old.verdict == "pass" else "was a note"
    what = f"{WORDS[change.new.verdict]}, and {was} in the baseline"
    return change.requirement, what, f"{change.scenario}: {change.new.summary}"


def _untested(change: Change) -> Sentence:
    what = "was judged in the baseline and is not any more"
    if change.new is None:
        return change.requirement, what, change.scenario
    return change.requirement, f"{what}: it {WORDS[change.new.verdict]}", f"{change.scenario}: {change.new.summary}"


def _had(before: dict[tuple[str, str, str], Verdict], verdict: Verdict) -> str:
    was = before.get((verdict.requirement, verdict.scenario, verdict.check))
    return "does not have this check" if was is None else f"says {was.verdict}"


def _told(verdicts: Iterable[Verdict], what: Callable[[Verdict], str]) -> list[str]:
    return _sentences((v.requirement, what(v), f"{v.scenario}: {v.summary}") for v in verdicts)


def _sentences(found: Iterable[Sentence]) -> list[str]:
    """One sentence for everything that says the same of the same requirement, with the first place in full."""
    places: dict[tuple[str, str], list[str]] = {}
    for requirement, what, where in found:
        places.setdefault((requirement, what), []).append(where)
    return [
        f"{requirement} {what}, in {where[0]}"
        if len(where) == 1
        else f"{requirement} {what}, in {len(where)} checks, the first in {where[0]}"
        for (requirement, what), where in places.items()
    ]
