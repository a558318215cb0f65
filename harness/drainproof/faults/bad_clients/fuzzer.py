"""The process that generates malformed input, sends it, and shrinks what fails: `python -m …fuzzer < plan > summary`.

Why a process of its own?
    Hypothesis mixes constants of all modules that are loaded into what it generates, and has settings and a folder of
    its own for the whole process. In the user's pytest process a seed would mean something else in each project, its
    files would land in the user's folder, and its plugin would see tests within tests. Here the same seed and the same
    versions give the same bytes.

Why a run for each class?
    Every class gets its share of the examples, and its own smallest failing case. A failing case is one whose outcome
    is wrong by `rules.what_is_wrong`; Hypothesis then looks for the smallest that fails in the same class. Outcomes are
    remembered by their bytes: a server that decides by chance must not look to Hypothesis like a test that does.

What is a hang?
    No answer and no close in time, twice: the second time after all else was quiet on our side, with a time-out that is
    three times as long; and a well-formed request right after it is answered (else the server is deaf to everybody,
    which the other clients tell). Hangs are not shrunk, because each look would cost the time-out again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drainproof.faults.bad_clients.cases import FILE, TOKEN, Case, Ends, Outcome
from drainproof.faults.bad_clients.exchange import play
from drainproof.faults.bad_clients.rules import RULES, what_is_wrong
from drainproof.load.attempt import attempt
from drainproof.load.plan import Expectation, Request

TIMEOUT = 5.0
"""Seconds beyond the request's duration until an outcome is taken for a hang, if `RETRY` times that gives the same."""

RETRY = 3

SHRINKING = 2.0
"""Seconds in which a failing case of one class may be made smaller."""

DEAD = 3
"""Refused connections in a row after which nothing more is sent."""


@dataclass(frozen=True, kw_only=True)
class FuzzPlan:
    """What to send, and where to. JSON on the process's standard input."""

    request: Request
    host: str
    port: int
    seed: int
    examples: int
    """At most so many cases of each class, the shrinking not counted."""
    folder: str
    """The evidence folder."""
    until: float
    """CLOCK_MONOTONIC: no further case is begun after this moment."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> FuzzPlan:
        """Reads what `vars` and `asdict` of the parts give."""
        request = value["request"]
        expect = Expectation(**{**request["expect"], "status": tuple(request["expect"]["status"])})
        return cls(**{**value, "request": Request(**{**request, "expect": expect})})


class _Failed(AssertionError):
    """Tells Hypothesis that a case fails."""


@dataclass(kw_only=True)
class _Session:
    """One run against one target."""

    plan: FuzzPlan
    write: Callable[[dict[str, Any]], None]
    sent: int = 0
    refused: int = 0
    known: dict[tuple[Any, Ends], str | None] = field(default_factory=dict)
    """What was wrong with each case that was sent, by its bytes."""
    failing: str | None = None
    """The phrase of the class's first failure; a smaller case must fail in the same way."""
    stop_shrinking: float = 0.0
    hung: bool = False
    tried: bool = False
    """A case of this class was judged."""

    def begin(self) -> None:
        """A new class."""
        self.failing, self.stop_shrinking, self.hung, self.tried = None, 0.0, False, False

    def try_case(self, case: Case) -> None:
        """The test that Hypothesis runs. Raises _Failed where the outcome is wrong."""
        key = (case.parts, case.ends)
        if key not in self.known:
            if self._over():
                return
            self.known[key] = self._send(case)
        self.tried = True
        wrong = self.known[key]
        if wrong is None or (self.failing is not None and wrong != self.failing):
            return
        if self.failing is None:
            self.failing, self.stop_shrinking = wrong, time.monotonic() + SHRINKING
        raise _Failed(wrong)

    def _over(self) -> bool:
        now = time.monotonic()
        shrunk = self.failing is not None and now >= self.stop_shrinking
        return shrunk or self.hung or self.refused >= DEAD or now >= self.plan.until

    def _send(self, case: Case) -> str | None:
        """Sends it, once more where it hung, and records both. Returns what was wrong."""
        timeout = self.plan.request.duration + TIMEOUT
        outcome = self._play(case, timeout)
        again = _doubtful(case, outcome)
        if again:
            self._record(case, outcome, counts=False)
            outcome = self._play(case, RETRY * timeout)
        believed = not (outcome.ending == "hung" and self._deaf(RETRY * timeout))
        line = self._record(case, outcome, counts=believed)
        self.hung = self.hung or outcome.ending == "hung"
        self.refused = self.refused + 1 if outcome.ending == "refused" else 0
        if not believed:
            self.refused = DEAD  # nothing more can be learnt here
            return None
        return what_is_wrong(line)

    def _deaf(self, timeout: float) -> bool:
        """Whether a well-formed request is not answered rightly either: then silence says nothing of malformed ones."""
        plan = self.plan
        return not attempt(request=plan.request, host=plan.host, port=plan.port, token=TOKEN, timeout=timeout).right

    def _play(self, case: Case, timeout: float) -> Outcome:
        plan = self.plan
        return play(case=case, request=plan.request, token=TOKEN, host=plan.host, port=plan.port, timeout=timeout)

    def _record(self, case: Case, outcome: Outcome, *, counts: bool) -> dict[str, Any]:
        """`counts`: false for the first of two looks, which is kept and not judged."""
        line = {"case": self.sent, **outcome.to_json(), **case.to_json(), "counts": counts}
        self.sent += 1
        if what_is_wrong(line) is None:
            del line["answer"]
        self.write(line)
        return line


def _doubtful(case: Case, outcome: Outcome) -> bool:
    """Whether the outcome may be our own or the kernel's doing: then it is believed the second time only."""
    return outcome.ending in ("hung", "refused") or (outcome.ending == "reset" and RULES[case.kind].framed)


def run(plan: FuzzPlan) -> dict[str, Any]:
    """Plays `plan`, writes one line for each case, and returns what was done."""
    import hypothesis  # noqa: PLC0415 - reads its environment when it is imported
    from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings  # noqa: PLC0415

    from drainproof.faults.bad_clients.base import Base  # noqa: PLC0415
    from drainproof.faults.bad_clients.grammar import strategies  # noqa: PLC0415

    base = Base.of(plan.request, host=plan.host, port=plan.port)
    quietly = settings(
        max_examples=plan.examples,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
    )
    with (Path(plan.folder) / FILE).open("a", encoding="utf-8", buffering=1) as file:
        session = _Session(plan=plan, write=lambda line: _write(file, line))
        done = []
        planned = strategies(base)
        for name, strategy in planned.items():
            session.begin()
            with contextlib.suppress(_Failed):  # it is in the file
                seed(plan.seed)(quietly(given(strategy)(session.try_case)))()
            if session.tried:
                done.append(name)
    return {
        "cases": session.sent,
        "classes": done,
        "planned": list(planned),
        "hypothesis": hypothesis.__version__,
        "json": base.value is not None,
    }


def _write(file: Any, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=True) + "\n")


def main() -> int:
    """Reads the plan, plays it, prints the summary."""
    plan = FuzzPlan.from_json(json.load(sys.stdin))
    with tempfile.TemporaryDirectory(prefix="drainproof-hypothesis-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        summary = run(plan)
    json.dump(summary, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
