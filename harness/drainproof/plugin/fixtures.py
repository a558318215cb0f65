"""The fixtures that scenarios use: `target`, `experiment` and `facts`.

`stop_signal`, `recipient` and `workers` are parameters, not fixtures: see `drainproof.plugin.collection`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drainproof.errors import HarnessError
from drainproof.plugin.run import RUN, Run
from drainproof.text import json_value
from drainproof.verdict import Fact

if TYPE_CHECKING:
    from drainproof.evidence import Evidence
    from drainproof.target.description import Target


class Facts:
    """Collects what a check measures: `facts(lost=3, accepted=24)`. The most telling values come first."""

    def __init__(self) -> None:
        self.values: dict[str, Fact] = {}
        self.summary_text = ""
        self.details_text = ""

    def __call__(self, **values: object) -> None:
        """Adds measured values; a unit is part of the name (`exit_after_signal_s`)."""
        for name, value in values.items():
            self.values[name] = json_value(value)

    def summary(self, text: str) -> None:
        """Says in one sentence what was measured; where the check fails, the message of its assertion comes first."""
        self.summary_text = json_value(text)

    def details(self, text: str) -> None:
        """Adds what a person wants to see beyond the summary, such as log lines; may have several lines."""
        self.details_text = "\n".join(filter(None, [self.details_text, json_value(text)]))


FACTS = pytest.StashKey[Facts]()
"""In the stash of a test that uses `facts`."""


class ScenarioExperiment:
    """What `experiment` gives to a scenario: each `run` is an experiment of whichever scenario is running.

    The fixture has class scope, but a class with parameters is several scenarios, and pytest does not set a
    class-scoped fixture up again when a parameter changes that it does not itself depend on. So this object asks which
    scenario runs.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def target(self) -> Target:
        """The target under test."""
        return self._run.target

    @property
    def folder(self) -> Path | None:
        """The evidence folder of the scenario's (last) experiment; None while there is none."""
        scenario = self._run.scenario
        return None if scenario is None else self._run.experiment_folders.get(scenario.id)

    def run(self, **arguments: Any) -> Evidence:
        """Runs an experiment and returns its evidence; see `drainproof.experiment.Experiment.run`."""
        scenario = self._run.scenario
        if scenario is None:
            raise HarnessError("an experiment can only be run while a test runs")
        source = self._run.source()
        experiment = source.experiment(scenario=scenario.id, title=scenario.title)
        try:
            return experiment.run(**arguments)
        finally:
            if experiment.folder is not None:
                self._run.experiment_folders[scenario.id] = experiment.folder
            if self._run.archive is None:
                self._run.versions.update(json_value(getattr(source, "versions", {})))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The target under test (`drainproof.target.description.Target`)."""
    return request.config.stash[RUN].target


@pytest.fixture(scope="class")
def experiment(request: pytest.FixtureRequest) -> ScenarioExperiment:
    """Runs the experiment of this scenario: `experiment.run(load=…, faults=…)` returns its evidence."""
    return ScenarioExperiment(request.config.stash[RUN])


@pytest.fixture
def facts(request: pytest.FixtureRequest) -> Facts:
    """Collects measured values for the report: `facts(lost=3)`, `facts.summary("…")`, `facts.details("…")`."""
    collected = Facts()
    request.node.stash[FACTS] = collected
    return collected
