"""What differs between two runs: which promises are kept now and were not before, and the other way round.

Pure: it sees two `Results` and nothing else. Verdicts are matched by requirement, scenario and check. Only `pass`,
`note` and `fail` say something about the target; every other outcome, and a check that is missing, leaves it open. So a
check that goes from `pass` to `inconclusive` did not get worse: it is not tested any more. But a gate must not open
because somebody stopped looking, therefore it counts among the regressions as well. Of a scenario that was repeated,
the worst run of each check counts, so runs compare whatever `--repeat` they had.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from drainproof.verdict import Outcome, Results, Verdict

Kind = Literal["better", "worse", "new", "untested"]

KINDS: tuple[Kind, ...] = ("worse", "untested", "better", "new")
"""In the order in which a reader wants to see them."""

RANK: dict[Outcome, int] = {"fail": 0, "note": 1, "pass": 2}
"""The outcomes that say something about the target, the better ones higher."""

Key = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One check that does not say what it said before."""

    requirement: str
    scenario: str
    check: str
    old: Verdict | None
    """None where the old run has no such check."""
    new: Verdict | None
    """None where the new run has no such check."""
    kind: Kind
    """`better`, `worse`: judged both times · `new`: judged now, not before · `untested`: judged before, not now."""

    @property
    def regression(self) -> bool:
        """Whether a gate must not let it pass: it got worse, or it held (or was noted) and nobody knows any more."""
        held = self.old is not None and self.old.verdict in ("pass", "note")
        return self.kind == "worse" or (self.kind == "untested" and held)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that differs, in the order of the new run; what only the old one has comes last."""

    changes: tuple[Change, ...]
    unchanged: int
    """Checks that came to the same, those that were not judged either time included."""

    def of(self, kind: Kind) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(change for change in self.changes if change.kind == kind)

    @property
    def regressions(self) -> tuple[Change, ...]:
        """What a gate must not let pass; see `Change.regression`."""
        return tuple(change for change in self.changes if change.regression)


def compare(old: Results, new: Results) -> Comparison:
    """What differs between `old` and `new`."""
    before, after = _by_key(old.once().verdicts), _by_key(new.once().verdicts)
    keys = dict.fromkeys([*after, *before])
    changes = [change for key in keys if (change := _change(key, before.get(key), after.get(key))) is not None]
    return Comparison(changes=tuple(changes), unchanged=len(keys) - len(changes))


def _by_key(verdicts: Iterable[Verdict]) -> dict[Key, Verdict]:
    return {(v.requirement, v.scenario, v.check): v for v in verdicts}


def _change(key: Key, old: Verdict | None, new: Verdict | None) -> Change | None:
    kind = _kind(_rank(old), _rank(new))
    if kind is None:
        return None
    requirement, scenario, check = key
    return Change(requirement=requirement, scenario=scenario, check=check, old=old, new=new, kind=kind)


def _rank(verdict: Verdict | None) -> int | None:
    return None if verdict is None else RANK.get(verdict.verdict)


def _kind(old: int | None, new: int | None) -> Kind | None:
    if old == new:
        return None
    if old is None:
        return "new"
    if new is None:
        return "untested"
    return "better" if new > old else "worse"
