"""Failures that somebody has looked at and declared as known: a file says which, why, and where each is tracked.

    [[failure]]
    id = "DRAIN-3"                                           # the requirement, in every scenario
    reason = "keep-alive is not taken back before 2.1"
    link = "https://example.com/issues/12"

    [[failure]]
    id = "EXIT-1 drain.TestStopUnderLoad[SIGINT-main-2w]"    # the requirement in one scenario
    …

A known failure stays a failure, in every report. What it changes is what a run as a whole says to whoever waits for it:
it neither closes a gate nor makes the exit status red. Only what a target does can be known (`fail`, `note`): a check
that could not be judged has not shown anything, and never passes for something that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from drainproof import requirement
from drainproof.errors import UserError
from drainproof.nearest import did_you_mean
from drainproof.target.manifest_section import Section, complain
from drainproof.target.mistakes import report, translate, wrong
from drainproof.text import printable
from drainproof.toml_file import read_toml
from drainproof.verdict import Known, Results, Stale, Verdict

CAN_BE_KNOWN = ("fail", "note")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or printable(value) != value or "\n" in value:
        raise wrong("expected a text of one line, not empty")
    return value


def _link(value: Any) -> str:
    if not _text(value).startswith(("https://", "http://")) or " " in value:
        raise wrong("expected a link to where the failure is tracked: https://…")
    return str(value)


def _id(value: Any) -> str:
    identity, _, scenario = _text(value).strip().partition(" ")
    if identity not in requirement.catalogue():
        raise wrong(
            f'there is no requirement "{identity}".{did_you_mean(identity, requirement.catalogue())} Expected the id '
            'of one, alone or with a scenario: "DRAIN-1", "DRAIN-1 drain.TestStop[SIGTERM-main-1w]"'
        )
    return f"{identity} {scenario.strip()}".strip()


class Failure(Section):
    """A `[[failure]]`."""

    id: Annotated[str, BeforeValidator(_id)] = Field(description='a requirement, such as "DRAIN-1"')
    reason: Annotated[str, BeforeValidator(_text)] = Field(description="why it fails, and why that is accepted for now")
    link: Annotated[str, BeforeValidator(_link)] = Field(description="where it is tracked: https://…")


def _each_once(failures: list[Failure]) -> list[Failure]:
    ids = [failure.id for failure in failures]
    complain([((i, "id"), "declared twice") for i, each in enumerate(ids) if each in ids[:i]])
    return failures


class KnownFailuresFile(Section):
    """The whole file."""

    failure: Annotated[list[Failure], AfterValidator(_each_once)] = Field(default_factory=list)


class KnownFailures:
    """What is declared as known, to be asked about each verdict."""

    def __init__(self, declared: Sequence[Known] = ()) -> None:
        self.declared = tuple(declared)
        self._by_id = {known.id: known for known in self.declared}

    def about(self, verdict: Verdict) -> Known | None:
        """The declaration that the failure `verdict` is known, the more precise one of two; None for anything else."""
        if verdict.verdict not in CAN_BE_KNOWN:
            return None
        precise = f"{verdict.requirement} {verdict.situation}"
        return self._by_id.get(precise) or self._by_id.get(verdict.requirement)

    def stale(self, results: Results) -> tuple[Stale, ...]:
        """The declarations that no verdict needs any more, or that nothing is known about."""
        needed = {verdict.known.id for verdict in results.verdicts if verdict.known is not None}
        unneeded = (known for known in self.declared if known.id not in needed)
        return tuple(Stale(known=known, why=_why(known, results, self._by_id)) for known in unneeded)


def _why(known: Known, results: Results, declared: Iterable[str]) -> str:
    identity, _, scenario = known.id.partition(" ")
    about = [v for v in results.verdicts if v.requirement == identity and scenario in ("", v.situation)]
    held = [v for v in about if v.verdict == "pass"]
    failed = [v for v in about if v.verdict in CAN_BE_KNOWN]
    open_ = [v for v in about if v.verdict not in ("pass", *CAN_BE_KNOWN)]
    if failed:
        precise = sum(f"{identity} {v.situation}" in declared for v in failed)
        return f"every failure of it ({precise}) has an entry of its own"
    if held and not open_:
        return "it holds now" if len(held) == 1 else f"it holds now, in all {len(held)} checks"
    if held:
        outcomes = ", ".join(sorted({v.verdict for v in open_}))
        return f"it holds now where it was judged: in {len(held)} of {len(about)} checks; the others are {outcomes}"
    if open_:
        return f"it was not judged: {open_[0].verdict}, {open_[0].summary}"
    scenarios = {v.situation for v in results.verdicts}
    of_one_run = next((v for v in results.verdicts if v.scenario == scenario), None)
    if of_one_run is not None and of_one_run.repetition:
        precise_id = f"{identity} {of_one_run.situation}"
        return f'that is one run of a scenario, and a failure is known in all of them: write "{precise_id}"'
    if scenario and scenario not in scenarios:
        return f"it was not judged: this run has no scenario {scenario}.{did_you_mean(scenario, scenarios)}"
    if results.aborted:
        return "it was not judged: the run was aborted"
    if results.deselected:
        return f"it was not judged: the selection left out {results.deselected} checks"
    return "it was not judged: no scenario of this run has a check of it"


def read_known_failures(file: Path) -> KnownFailures:
    """What `file` declares. Raises UserError with every mistake that was found."""
    try:
        data = read_toml(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error
    try:
        found = KnownFailuresFile.model_validate(data).failure
    except ValidationError as error:
        mistakes = translate(error, model=KnownFailuresFile, data=data, prefix="")
        raise UserError(report(mistakes, file=str(file))) from None
    return KnownFailures([Known(id=each.id, reason=each.reason, link=each.link) for each in found])
