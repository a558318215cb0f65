"""What the ends of pods say about preStop hook and grace period: how long the drain takes, and what would have fitted.

A function of the facts of CONT-2 and CONT-3, which are functions of the evidence. The numbers are the smallest whole
seconds that would have lost nothing in any of the experiments, with a margin on top: a cluster is not this machine.
"""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drainproof.text import Line
from drainproof.verdict import Results, Verdict

PRE_STOP_MARGIN = 0.5
"""Seconds that the hook should at least be longer than the endpoint needs to leave its service."""

DRAIN_MARGIN, DRAIN_MARGIN_SHARE = 1.0, 0.25
"""Seconds, or the share of the longest drain if that is more, that should at least be left when the drain is over."""


@dataclass(frozen=True, kw_only=True)
class PodAdvice:
    """Seconds; None where the run does not tell."""

    terminations: int
    """How many ends of pods it is drawn from."""
    drain_median_s: float | None
    drain_worst_s: float | None
    """From the stop signal to the exit, of those that ended by themselves."""
    drain_longer_than_s: float | None
    """What SIGKILL has cut off took longer than this; None where it cut nothing off."""
    endpoint_removed_after_s: float
    """How long, after the deletion, new connections were still sent to the pod: the longest of all."""
    served_after_stop_signal_s: float
    """For how long it was seen to serve new connections after the stop signal."""
    pre_stop_s: int
    """The smallest preStop pause that would have lost nothing."""
    pre_stop_margin_s: float
    """How much of that is margin."""
    grace_period_s: int | None
    """The smallest grace period; None where the end of a drain was never seen."""
    grace_period_margin_s: float | None
    failed_otherwise: int
    """Requests that no preStop hook and no grace period would have saved."""

    @property
    def yaml(self) -> str:
        """The two numbers as they stand in a manifest; empty where there is no grace period to give."""
        if self.grace_period_s is None:
            return ""
        lines = ["spec:", f"  terminationGracePeriodSeconds: {self.grace_period_s}"]
        if self.pre_stop_s:
            lines += [
                "  containers:",
                "    - lifecycle:",
                "        preStop:",
                "          sleep:",
                f"            seconds: {self.pre_stop_s}",
            ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON values, for `results.json`."""
        return {**asdict(self), "yaml": self.yaml}


def advice(results: Results) -> PodAdvice | None:
    """What the run says; None where no pod was ended in it."""
    ends = [v for v in results.verdicts if v.requirement == "CONT-3" and _number(v, "pre_stop_s") is not None]
    if not ends:
        return None
    drains = _numbers(ends, "drain_s")
    cut = [killed - hook for v in ends if (killed := _number(v, "killed_after_s")) and (hook := _hook(v)) is not None]
    removed = max(_numbers(ends, "endpoint_removed_after_s"), default=0.0)
    served = _served(ends)
    needed = max(0.0, removed - served)
    pre_stop = math.ceil(needed + PRE_STOP_MARGIN) if needed > 0 else 0
    worst, longer = max(drains, default=None), max(cut, default=None)
    known = worst is not None and (longer is None or worst >= longer)
    grace = None
    if worst is not None and known:
        grace = math.ceil(pre_stop + worst + max(DRAIN_MARGIN, DRAIN_MARGIN_SHARE * worst))
    others = [v for v in results.verdicts if v.requirement == "CONT-2"]
    return PodAdvice(
        terminations=len(ends),
        drain_median_s=round(statistics.median(drains), 3) if drains else None,
        drain_worst_s=worst,
        drain_longer_than_s=None if longer is None else round(longer, 3),
        endpoint_removed_after_s=removed,
        served_after_stop_signal_s=served,
        pre_stop_s=pre_stop,
        pre_stop_margin_s=round(pre_stop - needed, 3),
        grace_period_s=grace,
        grace_period_margin_s=None if grace is None or worst is None else round(grace - pre_stop - worst, 3),
        failed_otherwise=int(sum(_numbers(others, "failed_otherwise"))),
    )


def _served(ends: Sequence[Verdict]) -> float:
    """For how long it serves new connections after the stop signal.

    Known where it ceased to do so while some still came: the shortest of these times. Else it was at least the longest
    time for which some came.
    """
    lost = [v for v in ends if _number(v, "lost_after_stop_signal")]
    if lost:
        return min(_numbers(lost, "served_after_stop_signal_s"), default=0.0)
    return max(_numbers(ends, "served_after_stop_signal_s"), default=0.0)


def lines(results: Results, width: int) -> list[Line]:
    """The advice for the terminal; none where no pod was ended."""
    found = advice(results)
    if found is None:
        return []
    count = f"{found.terminations} termination{'s' if found.terminations > 1 else ''}"
    told = _wrapped("Pod   ", f"{_drain(found)} in {count}", width, "bold")
    if found.grace_period_s is None:
        text = "how long the drain takes was not seen: lengthen the grace period, and run it again"
        told += _wrapped("      ", text, width)
    else:
        hook = f"preStop {found.pre_stop_margin_s:.1f} s, " if found.pre_stop_s else ""
        margin = f"{hook}grace period {found.grace_period_margin_s:.1f} s"
        lag = f"where the endpoint is gone after {found.endpoint_removed_after_s:.1f} s"
        told += _wrapped("      ", f"the smallest that would have lost nothing {lag} (margin: {margin}):", width)
        told += [Line(f"        {line}") for line in found.yaml.splitlines()]
    if found.failed_otherwise:
        text = f"but {found.failed_otherwise} requests failed for other reasons: see CONT-2"
        told += _wrapped("      ", text, width, "red")
    return [*told, Line("")]


def _wrapped(start: str, text: str, width: int, style: str = "") -> list[Line]:
    parts = textwrap.wrap(text, max(width - len(start), 20), break_on_hyphens=False)
    return [Line((" " * len(start) if number else start) + part, style) for number, part in enumerate(parts)]


def _drain(found: PodAdvice) -> str:
    if found.drain_median_s is None:
        return f"its drain took longer than the {found.drain_longer_than_s or 0.0:.1f} s that it had"
    text = f"its drain took {found.drain_median_s:.1f} s (median), {found.drain_worst_s:.1f} s (worst)"
    if found.drain_longer_than_s is not None:
        text += f", and was cut off after {found.drain_longer_than_s:.1f} s"
    return text


def _hook(verdict: Verdict) -> float | None:
    return _number(verdict, "pre_stop_s")


def _numbers(verdicts: Iterable[Verdict], fact: str) -> list[float]:
    return [value for verdict in verdicts if (value := _number(verdict, fact)) is not None]


def _number(verdict: Verdict, fact: str) -> float | None:
    """A fact that is a number. Facts are whatever a scenario made of them, also one of somebody else."""
    value = verdict.facts.get(fact)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= 1e6 else None
