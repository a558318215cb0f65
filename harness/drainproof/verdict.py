"""Verdicts: what a run says, as pure data that every report is derived from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

Outcome = Literal["pass", "fail", "note", "inconclusive", "unsupported", "error"]

OUTCOMES: tuple[Outcome, ...] = ("pass", "fail", "note", "inconclusive", "unsupported", "error")

RED: frozenset[Outcome] = frozenset({"fail", "inconclusive", "error"})
"""Outcomes that make the exit status of a run non-zero."""


WORST_FIRST: tuple[Outcome, ...] = ("fail", "error", "inconclusive", "note", "pass", "unsupported")
"""Of several runs of one check, the first of these says most. A rule that did not apply once leaves nothing open where
it was judged in another run, so `unsupported` says least."""


def judged_nothing(outcomes: Iterable[Outcome]) -> bool:
    """Whether nothing was judged at all: no verdicts, or each says `unsupported` (there is no Docker engine, say).

    Such a run must not pass a gate: where one rule does not apply, others do, but where none does, nothing was shown.
    """
    return all(outcome == "unsupported" for outcome in outcomes)


def repeated(scenario: str, repetition: int) -> str:
    """The id of a scenario's run number `repetition`: `drain.TestStop[SIGTERM-main-1w-r2]`, `drain.TestStop[r2]`."""
    if not scenario.endswith("]"):
        return f"{scenario}[r{repetition}]"
    return f"{scenario[:-1]}-r{repetition}]"


def without_repetition(scenario: str, repetition: int) -> str:
    """What `repeated` made the id from; the id itself for the repetition 0."""
    for mark, rest in ((f"[r{repetition}]", ""), (f"-r{repetition}]", "]")):
        if repetition and scenario.endswith(mark):
            return scenario.removesuffix(mark) + rest
    return scenario


Overall = Literal["conforming", "conforming with notes", "not conforming", "incomplete"]
"""What a certificate says of the whole run."""

Fact = str | int | float | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Known:
    """A failure that the user has declared as known. It stays a failure; only a gate lets it pass."""

    id: str
    """What it was declared for: a requirement (`DRAIN-1`), or one in a scenario."""
    reason: str
    link: str


@dataclass(frozen=True, kw_only=True)
class Stale:
    """A declared known failure that no verdict of this run matches."""

    known: Known
    why: str
    """Such as: it holds now, or: it was not judged."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What was asked of the run as a whole, and whether it holds."""

    rule: str
    """As the user gave it: `must`, `must+should`, `no-regression:baseline.json`."""
    passed: bool
    reasons: tuple[str, ...]
    """One sentence for each thing that closes the gate; empty where it is open."""
    remarks: tuple[str, ...] = ()
    """What else a reader has to know: what is red and lets the gate open, what the comparison is based on."""

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Gate:
        """The gate that `results.json` holds."""
        texts = {name: tuple(content.get(name, ())) for name in ("reasons", "remarks")}
        return Gate(rule=content["rule"], passed=content["passed"], **texts)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The evidence that the verdicts were drawn from."""

    folder: str
    """Of the run, relative to the report folder: `evidence/2026-11-20_15-40-11`."""
    digests: str
    """SHA-256, in hexadecimal digits, of the manifest in it that names the digest of each other file."""


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
    known: Known | None = None
    """The declaration that this failure is known; None where there is none."""
    repetition: int = 0
    """The number of this run of the scenario, from 1 on, where each is repeated; 0 where it runs once."""

    @property
    def situation(self) -> str:
        """The id of the scenario without the number of its repetition: the same in every run of it."""
        return without_repetition(self.scenario, self.repetition)

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` gave `content` for; keys of later versions are left out."""
        names = {f.name for f in fields(Verdict)}
        values = {name: value for name, value in content.items() if name in names}
        known = values.get("known")
        return Verdict(**{**values, "known": None if known is None else Known(**known)})

    def to_json(self) -> dict[str, Any]:
        """JSON values, the form that `results.json` holds."""
        return asdict(self)

    @property
    def rank(self) -> tuple[bool, int]:
        """Of several verdicts on one check, the one with the lowest rank counts.

        What is red and not declared as known comes before anything that is: the declaration lets one failure pass, and
        says nothing of a run that could not be judged.
        """
        return self.verdict not in RED or self.known is not None, WORST_FIRST.index(self.verdict)


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
    specification: str = ""
    """The version of the requirements that the verdicts are about."""
    deselected: int = 0
    """How many checks the user left out (`-k` and the like): what they would have said is not known."""
    bundle: Bundle | None = None
    """None while the run goes on."""
    gate: Gate | None = None
    """None where the user set none, and while the run goes on."""
    stale: tuple[Stale, ...] = ()
    """Declared known failures that are none any more."""

    def once(self) -> Results:
        """The same with one verdict for each check, where scenarios were repeated: the worst of its runs.

        What compares runs by the ids of their scenarios, such as a gate, sees a repeated run like any other.
        """
        worst: dict[tuple[str, str, str], Verdict] = {}
        for verdict in self.verdicts:
            key = (verdict.requirement, verdict.situation, verdict.check)
            if key not in worst or verdict.rank < worst[key].rank:
                worst[key] = verdict
        merged = tuple(replace(verdict, scenario=verdict.situation, repetition=0) for verdict in worst.values())
        return replace(self, verdicts=merged)

    @property
    def red(self) -> bool:
        """Whether something is red, and true as well where nothing was judged."""
        outcomes = [verdict.verdict for verdict in self.verdicts]
        return self.aborted or judged_nothing(outcomes) or not RED.isdisjoint(outcomes)

    @property
    def overall(self) -> Overall:
        """The verdict on the whole.

        A MUST that does not hold decides, whatever else is not known, and whether or not it was declared as known.
        Without one, everything that was not judged leaves the run incomplete: what `inconclusive` and `error` say, what
        the user left out, what an aborted run did not get to. A rule that does not apply leaves nothing open.
        """
        outcomes = {verdict.verdict for verdict in self.verdicts}
        if "fail" in outcomes:
            return "not conforming"
        if self.red or self.deselected:
            return "incomplete"
        return "conforming with notes" if "note" in outcomes else "conforming"

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> Results:
        """The results that `results.json` holds. Raises KeyError or TypeError where something is missing or wrong."""
        bundle, gate = content.get("bundle"), content.get("gate")
        return Results(
            target=dict(content["target"]),
            versions=dict(content["versions"]),
            verdicts=tuple(Verdict.from_json(verdict) for verdict in content["verdicts"]),
            started=content["started"],
            seconds=content["seconds"],
            aborted=content["aborted"],
            command=content["command"],
            specification=content.get("specification", ""),
            deselected=content.get("deselected", 0),
            bundle=None if bundle is None else Bundle(**bundle),
            gate=None if gate is None else Gate.from_json(gate),
            stale=tuple(Stale(known=Known(**s["known"]), why=s["why"]) for s in content.get("stale", ())),
        )
