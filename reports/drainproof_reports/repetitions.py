"""What a run with `--repeat` shows: how often each requirement held, and how often it may still fail unseen.

A check that passes says that nothing went wrong this time. Of twenty runs without a failure it can be said how often a
failure may come at the most without being noticed in twenty runs: the upper bound of Clopper and Pearson, exact for a
binomial count, one-sided at 95 %. With a rate of failures above the bound, what was seen has a probability below 5 %.
It is computed by SciPy.

There are two counts. Runs are independent of each other, each with a server of its own, so their bound is sound and
wide: 20 runs without a failure leave up to 14 %. Requests are many, so their bound is tight, but they are lost
together, those of one worker or one connection at a time: it holds for requests that fail independently, and is shown
beside the other one for that reason, never in its place.

What is pooled says so: all runs of twelve scenarios bound the rate over all of them, each as often as it was run. One
of them alone may be as bad as its own few runs allow, so that bound stands beside it.

A requirement that holds in some runs of a scenario and not in others flips. That is a finding of its own: a server with
a race, or a check at the edge of its bound.

Considered and lost: the two-sided interval (its lower end says nothing where nothing failed, and its upper end is then
one of 97.5 %), and Wilson's (below the truth for rates near 0, where all of this takes place).
"""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drainproof.text import Line, flat, shortened
from drainproof.verdict import WORST_FIRST, Fact, Outcome, Results, Verdict

CONFIDENCE = 0.95

METHOD = "Clopper-Pearson, one-sided upper bound"

BROKEN: tuple[Outcome, ...] = ("fail", "note")
"""What a run says where the requirement does not hold."""


@dataclass(frozen=True, kw_only=True)
class Counting:
    """Facts of a check that say how many of how many went wrong; each may be a sum."""

    what: str
    """Such as `requests lost`: what stands behind "0 of 960"."""
    failed: tuple[str, ...]
    of: tuple[str, ...]


COUNTINGS = tuple(
    Counting(what=what, failed=tuple(failed.split()), of=tuple(of.split()))
    for what, failed, of in (
        ("requests lost", "lost", "accepted_before_signal"),
        ("requests failed", "failed accepted_unread_and_lost", "arrived_after_signal accepted_unread_and_lost"),
        ("calls failed", "failed accepted_unread_and_lost", "calls_after_signal accepted_unread_and_lost"),
        ("requests and calls lost", "http_lost grpc_lost", "http_accepted grpc_accepted"),
        ("requests lost", "lost", "still_in_flight_at_second_signal"),
        ("requests lost", "lost", "requests"),
        ("requests failed", "failed_requests", "requests_of_users"),
        ("requests not answered rightly", "not_right later_not_right", "in_flight_on_others arrived_later"),
        ("requests not answered rightly", "without_right_answer", "other_requests"),
        ("requests not answered rightly", "not_answered_rightly", "asked_afterwards"),
        ("requests hung", "hung", "requests"),
        ("requests not answered rightly", "not_right", "requests_before_signal"),
        ("connections closed without notice", "closed_without_notice", "connections_answered_last_while_draining"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """So many of so many went wrong."""

    what: str
    """`runs`, `requests lost`, …"""
    failed: int
    of: int
    at_most: float | None
    """The upper bound of the rate, 0 to 1; None where there were none to count."""


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """One requirement in all runs of one scenario, or of all scenarios."""

    requirement: str
    scenario: str | None
    """The id without the number of the run; None where it is about all scenarios."""
    title: str | None
    runs: Rate
    """The runs in which it was judged, and those in which it did not hold."""
    not_judged: int
    """The runs in which it was inconclusive or an error."""
    counted: Rate | None
    """What the check counts in all runs that were judged; None where it counts nothing, or fails for another reason."""
    flipped: tuple[str, ...]
    """The scenarios in which it held in some runs and not in others."""
    pooled: int
    """From how many scenarios the runs are that were judged."""
    one_at_most: float | None
    """The highest upper bound of any one of these scenarios, by its own runs; None where nothing was judged."""

    @property
    def held(self) -> int:
        """In how many runs it held."""
        return self.runs.of - self.runs.failed


@dataclass(frozen=True, kw_only=True)
class Repetitions:
    """What a repeated run shows."""

    repeat: int
    """How often each scenario ran, as far as it got: the most of any."""
    least: int
    """How often the one ran that ran least: a selection or an abort may leave out runs."""
    requirements: tuple[Repeated, ...]
    """In all scenarios together."""
    scenarios: tuple[Repeated, ...]
    """In each scenario."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, the form that `results.json` holds."""
        return {
            "repeat": self.repeat,
            "least": self.least,
            "confidence": CONFIDENCE,
            "method": METHOD,
            "requirements": [_json(each) for each in self.requirements],
            "scenarios": [_json(each) for each in self.scenarios],
        }


def repetitions(results: Results) -> Repetitions | None:
    """What the repetitions in `results` show; None where nothing was repeated."""
    repeated = [verdict for verdict in results.verdicts if verdict.repetition]
    if not repeated:
        return None
    found: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in repeated:
        found.setdefault((verdict.requirement, verdict.situation), []).append(verdict)
    scenarios = [scenario for verdicts in found.values() if (scenario := _scenario(verdicts)) is not None]
    by_requirement: dict[str, list[Repeated]] = {}
    for scenario in scenarios:
        by_requirement.setdefault(scenario.requirement, []).append(scenario)
    runs_of: dict[str, set[int]] = {}
    for verdict in repeated:
        runs_of.setdefault(verdict.situation, set()).add(verdict.repetition)
    return Repetitions(
        repeat=max(len(runs) for runs in runs_of.values()),
        least=min(len(runs) for runs in runs_of.values()),
        requirements=tuple(_together(group) for group in by_requirement.values()),
        scenarios=tuple(scenarios),
    )


def _scenario(verdicts: Sequence[Verdict]) -> Repeated | None:
    """One requirement in the runs of one scenario; None where it does not apply in any.

    A scenario may have several checks of it: a run holds where all of them do, and fails where one does not.
    """
    by_run: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_run.setdefault(verdict.repetition, []).append(verdict)
    outcomes = [min((v.verdict for v in of_run), key=WORST_FIRST.index) for of_run in by_run.values()]
    held, broken = outcomes.count("pass"), sum(outcome in BROKEN for outcome in outcomes)
    applies = len(outcomes) - outcomes.count("unsupported")
    if not applies:
        return None
    first = verdicts[0]
    runs = _rate("runs", broken, held + broken)
    judged = [[v for v in of_run if v.verdict in ("pass", *BROKEN)] for of_run in by_run.values()]
    return Repeated(
        requirement=first.requirement,
        scenario=first.situation,
        title=first.title.removesuffix(f", run {first.repetition}"),
        runs=runs,
        not_judged=applies - held - broken,
        counted=_counted(of_run for of_run in judged if of_run),
        flipped=(first.situation,) if held and broken else (),
        pooled=1 if runs.of else 0,
        one_at_most=runs.at_most,
    )


def _together(group: Sequence[Repeated]) -> Repeated:
    """One requirement in all scenarios."""
    counts = [each.counted for each in group if each.counted is not None and each.runs.of]
    complete = len(counts) == sum(bool(each.runs.of) for each in group)
    same = counts and complete and len({count.what for count in counts}) == 1
    return Repeated(
        requirement=group[0].requirement,
        scenario=None,
        title=None,
        runs=_rate("runs", sum(each.runs.failed for each in group), sum(each.runs.of for each in group)),
        not_judged=sum(each.not_judged for each in group),
        counted=_rate(counts[0].what, sum(c.failed for c in counts), sum(c.of for c in counts)) if same else None,
        flipped=tuple(situation for each in group for situation in each.flipped),
        pooled=sum(each.pooled for each in group),
        one_at_most=max((each.one_at_most for each in group if each.one_at_most is not None), default=None),
    )


def _counted(runs: Iterable[Sequence[Verdict]]) -> Rate | None:
    """What went wrong of what was counted, in all runs; None where a check in one of them does not count.

    Several checks of one run may count the same requests: the one that found most is taken, and the smallest number.

    A check that fails although nothing that it counts went wrong has failed for another reason: a bound on the lost
    requests of a server that died before it was asked would be true, and mislead.
    """
    failed = of = 0
    what = ""
    for verdicts in runs:
        of_run = []
        for verdict in verdicts:
            found = _count(verdict.facts)
            if found is None or (verdict.verdict in BROKEN and not found[1]) or (what and what != found[0]):
                return None
            what = found[0]
            of_run.append((found[1], -found[2]))
        most, number = max(of_run)
        failed, of = failed + most, of - number
    return _rate(what, failed, of) if what else None


def _count(facts: Mapping[str, Fact]) -> tuple[str, int, int] | None:
    for counting in COUNTINGS:
        failed = [facts.get(name) for name in counting.failed]
        of = [facts.get(name) for name in counting.of]
        wrong, everything = _sum(failed), _sum(of)
        if wrong is not None and everything is not None and wrong <= everything:
            return counting.what, wrong, everything
    return None


def _sum(values: Sequence[Fact]) -> int | None:
    total = 0
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_COUNTED:
            return None
        total += value
    return total


MOST_COUNTED = 10**12
"""No run has more requests; what results read back say may be anything."""


def _rate(what: str, failed: int, of: int) -> Rate:
    return Rate(what=what, failed=failed, of=of, at_most=upper_bound(failed, of))


@functools.lru_cache(maxsize=4096)
def upper_bound(failed: int, of: int) -> float | None:
    """The highest rate of failures that `failed` of `of` leave possible at 95 %; None for 0 of 0."""
    if not of:
        return None
    from scipy.stats import binomtest  # noqa: PLC0415 - takes a second, and only a repeated run needs it

    interval = binomtest(failed, of, alternative="less").proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return float(interval.high)


def _json(each: Repeated) -> dict[str, Any]:
    content = asdict(each)
    if each.scenario is None:
        del content["scenario"], content["title"]
    return {**content, "held": each.held, "flipped": list(each.flipped)}


def lines(results: Results, width: int) -> list[Line]:
    """The lines of the summary: flips first, then what each requirement comes to."""
    found = repetitions(results)
    if found is None:
        return []
    shown = []
    for each in found.scenarios:
        if each.flipped:
            text = f"FLIPS  {each.requirement}  held in {each.held} of {each.runs.of} runs of {flat(each.title or '')}"
            shown.append(Line(shortened(text, width), "red bold"))
    shown += [Line("")] if shown else []
    shown.append(Line(f"{_how_often(found)}; upper bounds at 95 % (one-sided, Clopper-Pearson):"))
    longest = max((len(flat(each.requirement)) for each in found.requirements), default=0)
    for each in found.requirements:
        style = "red" if each.runs.failed else "yellow" if each.not_judged else ""
        start = f"  {flat(each.requirement):<{longest}}  "
        told = textwrap.wrap(sentence(each), width, initial_indent=start, subsequent_indent=" " * (longest + 4))
        shown += [Line(part, style) for part in told]
    return [*shown, Line("")]


def _how_often(found: Repetitions) -> str:
    if found.least < found.repeat:
        return f"Each scenario was run {found.least} to {found.repeat} times"
    return "Each scenario was run once" if found.repeat == 1 else f"Each scenario was run {found.repeat} times"


def sentence(each: Repeated) -> str:
    """What the runs say of a requirement, in one sentence."""
    if not each.runs.of:
        return f"could not be judged in {each.not_judged} of {each.not_judged} run{_s(each.not_judged)}"
    text = f"held in {each.held} of {each.runs.of} run{_s(each.runs.of)}"
    bound = f"rate of failures at most {percent(each.runs.at_most)}"
    if each.pooled > 1:
        text += f" of {each.pooled} scenarios"
        bound += f" over all of them, {percent(each.one_at_most)} in one of them"
    text += f" ({bound})"
    if each.not_judged:
        text += f", {each.not_judged} more could not be judged"
    if each.counted is not None and each.counted.of:
        counted = each.counted
        text += f"; {counted.failed} of {counted.of} {counted.what}: at most {percent(counted.at_most)}"
    return text


def _s(number: int) -> str:
    return "" if number == 1 else "s"


def percent(rate: float | None) -> str:
    """A bound in percent with two digits, never rounded down: `0.32 %` for 0.003116."""
    if rate is None:
        return "100 %"
    value = 100 * rate
    if value <= 0:
        return "0 %"
    digits = 1 - math.floor(math.log10(value))
    rounded = math.ceil(round(value * 10**digits, 6)) / 10**digits
    return f"{rounded:.{max(digits, 0)}f} %" if rounded < 100 else "100 %"
