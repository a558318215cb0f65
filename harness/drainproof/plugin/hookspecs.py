"""The hooks of drainproof, for plugins and conftests. They are called only in a run with a target or saved evidence.

Every hook may take fewer arguments than listed here. In a run with pytest-xdist, the hooks about verdicts are called in
the controlling process, those about experiments in each worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from drainproof.installed import ScenarioPackage
    from drainproof.plugin.run import Archive, Laboratory
    from drainproof.target.description import Target
    from drainproof.text import Line
    from drainproof.verdict import Results, Verdict


@pytest.hookspec
def pytest_drainproof_scenarios(config: pytest.Config, packages: list[ScenarioPackage]) -> None:
    """May change, in place, which scenario packages there are; `packages` holds those with an entry point.

    Called in a run with a target or saved evidence, after the initial conftests were loaded and before collection.
    """


@pytest.hookspec(firstresult=True)
def pytest_drainproof_laboratory(
    config: pytest.Config, target: Target, folder: Path, progress: Callable[[str], None]
) -> Laboratory | None:
    """Makes the laboratory that runs the experiments on `target`; the first one that is not None is taken.

    Called once per process, before the first experiment. `folder` is where the evidence belongs; `progress` takes a few
    words about the phase of the experiment. This is how another way to launch a target comes in.
    """


@pytest.hookspec(firstresult=True)
def pytest_drainproof_archive(config: pytest.Config, folder: Path) -> Archive | None:
    """Opens the saved evidence of one run; the first one that is not None is taken.

    Called once per process, when pytest is configured with `--evidence`.
    """


@pytest.hookspec
def pytest_drainproof_verdict(verdict: Verdict) -> None:
    """Called for each verdict as soon as it is known.

    When the clean-up after a check fails, it is called a second time for that check, with an `error`.
    """


@pytest.hookspec
def pytest_drainproof_derived(results: Results, results_json: bytes) -> Mapping[str, Any] | None:
    """Tells, by name, the content of JSON files that follow from `results` alone, or None for one that must not be.

    `drainproof check` compares it with the files that are there. `results_json` is the content of results.json. What
    depends on more than these (a time, a place) is left out, and then not compared.
    """


@pytest.hookspec
def pytest_drainproof_report(results: Results, folder: Path) -> None:
    """Writes a report about `results` into the report folder `folder`, in place of the one written before.

    Called when the session begins, after each scenario (seldomer if writing takes long), and at the end of the session.
    All calls but the last see `results.aborted` set, so that what is left of a session that was killed says so. An
    OSError is shown to the user as it is.
    """


@pytest.hookspec
def pytest_drainproof_summary(results: Results, folder: Path, width: int, written: bool) -> Sequence[Line | str]:
    """The lines of a summary for the terminal, at most `width` columns wide. Called once, after the last report.

    `folder` is the report folder, as it should be shown; `written` says whether all reports could be written to it.
    """
    raise NotImplementedError  # a specification, never called
