"""What is asked of a run beyond its target: a gate, known failures, what to run again, how often.

All of it is read before anything is written: a baseline, or the results of which the failures are run again, may lie in
the report folder of this very run, which removes what lies there when it begins.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from drainproof import gate, saved
from drainproof.errors import UserError
from drainproof.plugin import options
from drainproof.plugin.folders import CheckKey
from drainproof.plugin.options import Wanted
from drainproof.verdict import RED, Results

if TYPE_CHECKING:
    from drainproof.known import KnownFailures


RERUN = "drainproof_rerun"
"""The key under which a worker of pytest-xdist is told which checks to run again."""


@dataclass(kw_only=True)
class Asked:
    """What the options ask for, read and checked."""

    rule: gate.Rule | None = None
    known: KnownFailures | None = None
    rerun: frozenset[CheckKey] | None = None
    """The checks to run again, by the ids of their scenarios without repetitions; None: everything."""

    @property
    def texts(self) -> list[str]:
        """What the user wrote in them and reports say again."""
        declared = () if self.known is None else self.known.declared
        rule = [] if self.rule is None else [self.rule.given]
        return [*rule, *(text for known in declared for text in (known.id, known.reason, known.link))]


def refuse_own_baseline(config: pytest.Config, wanted: Wanted) -> None:
    """Raises UserError where this run would put its own results in the place of the baseline.

    The first regression would close the gate and become the baseline of the next run, which would then pass.
    """
    if wanted.gate is None or not wanted.gate.startswith("no-regression:"):
        return
    path = config.invocation_params.dir / wanted.gate.partition(":")[2]
    file = (path / saved.FILE if path.is_dir() else path).resolve()  # a link is followed first: it may lie anywhere
    if file.parent == wanted.report_folder.resolve():
        with _naming(config, options.GATE, wanted.gate):
            raise UserError(
                "this run would replace it by its own results, and the next one would be compared with these. Copy it "
                f"to another place, or give this run another {options.name_of(config, options.REPORT_DIR)}; "
                "nothing was changed."
            )


def read(config: pytest.Config, wanted: Wanted) -> Asked:
    """Reads the files that the options name. Raises UserError, whose text begins with the option and its value.

    A worker of pytest-xdist has no gate to judge, and is told what to run again by the controlling process.
    """
    asked = Asked()
    here = config.invocation_params.dir
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if wanted.known_failures is not None:
        from drainproof.known import read_known_failures  # noqa: PLC0415 - needs pydantic, which takes its time

        with _naming(config, options.KNOWN_FAILURES, wanted.known_failures):
            asked.known = read_known_failures(here / wanted.known_failures)
    if worker is not None:
        told = worker.get(RERUN)
        asked.rerun = None if told is None else frozenset((scenario, check) for scenario, check in told)
        return asked
    if wanted.gate is not None:
        with _naming(config, options.GATE, wanted.gate):
            kind, path = gate.parse(wanted.gate)
            baseline = saved.read(here / path).results if path else None
            asked.rule = gate.Rule(given=wanted.gate, kind=kind, baseline=baseline)
    if wanted.rerun_failed is not None:
        with _naming(config, options.RERUN_FAILED, wanted.rerun_failed):
            asked.rerun = _red_checks(saved.read(here / wanted.rerun_failed).results)
    return asked


def require_same_target(config: pytest.Config, asked: Asked, *, name: str) -> None:
    """Raises UserError where the baseline is about another target.

    Another version of the requirements is none of that: with each release of drainproof every baseline would have to be
    made anew. The gate remarks it.
    """
    baseline = None if asked.rule is None else asked.rule.baseline
    if asked.rule is None or baseline is None or baseline.target.get("name") == name:
        return
    with _naming(config, options.GATE, asked.rule.given):
        raise UserError(
            f"these are results of the target {baseline.target.get('name')!r}, and this run is about {name!r}. "
            "Name results of the same target, or make new ones."
        )


def _red_checks(results: Results) -> frozenset[CheckKey]:
    red = frozenset((v.situation, v.check) for v in results.verdicts if v.verdict in RED)
    if not red:
        why = "the run was aborted: run all of it again" if results.aborted else "there is nothing to run again"
        raise UserError(f"no verdict in it is red, so {why}")
    return red


@contextmanager
def _naming(config: pytest.Config, option: options.Option, value: str) -> Generator[None]:
    """Puts the option, as it is written in this run, in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{options.name_of(config, option)}={value}: {error}") from error
