"""Verdicts: what a run says, as pure data that every report is derived from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["pass", "fail", "note", "inconclusive", "unsupported", "error"]

OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "note", "inconclusive", "unsupported", "error")

RED: frozenset[Outcome] = frozenset({"fail", "inconclusive", "error"})
"""Outcomes that make the exit status of a run non-zero."""


def judged_nothing(outcomes: Iterable[Outcome]) -> bool:
    """Whether nothing was judged at all: no verdicts, or each says `unsupported` (there is no Docker engine, say).

    Such a run must not pass a gate: where one rule does not apply, others do, but where none does, nothing was shown.
    """
    return all(outcome == "unsupported" for outcome in outcomes)


Fact = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One requirement in one scenario."""

    requirement: str
    """The id, such as `DRAIN-1`."""
    level: Literal["MUST", "SHOULD"]
    rule: str
    scenario: str
    """The stable id of the scenario, such as `drain.TestStopUnderLoad[SIGTERM-main-1w]`."""
    title: str
    """The scenario in words: "SIGTERM to the main process under load, 1 worker"."""
    check: str = ""
    """The test function that came to the verdict: a scenario may have several checks of one requirement."""
    verdict: Outcome
    summary: str
    """One sentence: what held, or what did not, or why it cannot be said."""
    facts: dict[str, Fact] = field(default_factory=dict)
    """Measured values by name; a unit is part of the name (`exit_after_signal_s`). The most telling come first."""
    evidence: str | None = None
    """The folder of the experiment, relative to the report folder; None where none was run."""
    repeat: str = ""
    """The command that repeats just this scenario."""
    duration: float = 0.0
    """Seconds that the check took, the experiment included for the first check of a scenario."""
    details: str = ""
    """What a person wants to see beyond the summary (log lines, lost requests); may have several lines."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, the form that `results.json` holds."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Results:
    """A whole run: what every report is made from."""

    target: dict[str, Any]
    """Name, folder and the manifest as resolved."""
    versions: dict[str, Any]
    """drainproof, Python, platform, and what is known of the target's environment."""
    verdicts: tuple[Verdict, ...]
    started: str
    """Wall-clock time, ISO 8601 with offset."""
    seconds: float
    aborted: bool
    """True while the run goes on, and for ever in one that did not reach its end."""
    command: str = ""

    @property
    def red(self) -> bool:
        """Whether this run must not pass a gate: where something is red, and where nothing was judged."""
        outcomes = [verdict.verdict for verdict in self.verdicts]
        return self.aborted or judged_nothing(outcomes) or not RED.isdisjoint(outcomes)
