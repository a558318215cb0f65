"""The state of one active run: what the parts of the plugin share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from drainproof.installed import ScenarioPackage
from drainproof.plugin.asked import Asked
from drainproof.plugin.folders import CheckKey, SavedSession
from drainproof.plugin.naming import Scenario
from drainproof.plugin.options import Wanted
from drainproof.redaction import Redactor
from drainproof.target import digest
from drainproof.target.digest import Digest

if TYPE_CHECKING:
    from drainproof.experiment import Experiment
    from drainproof.target.description import Target


class Archive(Protocol):
    """Saved evidence of one run, to be judged again."""

    @property
    def target(self) -> Target:
        """What the run was about."""

    def experiment(self, *, scenario: str, title: str) -> Experiment:
        """The saved experiment of the scenario with this id."""


class Laboratory(Protocol):
    """Runs experiments on a target. May have a method `preflight`, as the built-in one has."""

    def experiment(self, *, scenario: str, title: str) -> Experiment:
        """A new experiment for the scenario with this id; `title` says in words what it is about."""

    def close(self) -> None:
        """Ends whatever the experiments share."""


def silent(_phase: str) -> None:
    """Progress that nobody watches."""


@dataclass(kw_only=True)
class Run:
    """What is known from the start, and what the parts tell each other while the run goes on."""

    config: pytest.Config
    wanted: Wanted
    target: Target
    packages: list[ScenarioPackage]
    evidence_folder: Path
    """Where the evidence of this run belongs, or lies."""
    archive: Archive | None
    """The saved evidence; None in a run against the real target."""
    saved: SavedSession | None = None
    """What the saved run had selected; None in a run against the real target."""
    asked: Asked = field(default_factory=Asked)
    """What is asked of the run beyond its target."""
    deselected: int = 0
    """How many checks the selection left out; known when the tests are collected."""
    progress: Callable[[str], None] = silent
    """Takes the phases of the experiment that runs."""
    scenario: Scenario | None = None
    """The scenario of the test that runs."""
    experiment_folders: dict[str, Path] = field(default_factory=dict)
    """By scenario id, where the evidence of its (last) experiment is."""
    versions: dict[str, Any] = field(default_factory=dict)
    """What is known of the target's environment."""
    known_digest: Digest | None = None
    """See `digest`; of a target that is started from its folder, as it was when the run began."""
    problems: list[str] = field(default_factory=list)
    """What went wrong apart from the checks; a session with problems fails."""
    gone: list[str] = field(default_factory=list)
    """A sentence for each check that was to be run again and that is not there any more: told at the end, and no gate
    lets it pass."""
    selected: set[CheckKey] | None = None
    """The checks that are to run; None until that is known."""
    laboratory: Laboratory | None = None
    """Made when the first experiment needs it."""

    @functools.cached_property
    def redactor(self) -> Redactor:
        """Hides the target's secrets from verdicts, reports and the terminal."""
        return Redactor.of(self.target, told=self.asked.texts)

    @property
    def digest(self) -> Digest | None:
        """What identifies the target; None where that is not known (yet): of a container, before its first start."""
        if self.known_digest is None and self.target.launch == "container":
            self.known_digest = digest.of_evidence(self.evidence_folder)
        return self.known_digest

    def tell(self, phase: str) -> None:
        """Hands a phase on to whoever watches by then."""
        self.progress(phase)

    def source(self) -> Laboratory | Archive:
        """Where experiments come from: the saved evidence, or the laboratory."""
        if self.archive is not None:
            return self.archive
        if self.laboratory is None:
            self.laboratory = self.config.hook.pytest_drainproof_laboratory(
                config=self.config,
                target=self.target,
                folder=self.evidence_folder,
                progress=self.tell,
            )
        return self.laboratory

    @property
    def repeat(self) -> int:
        """How often each scenario runs, or was run."""
        return self.wanted.repeat if self.saved is None else self.saved.repeat

    @property
    def in_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist: the controlling process keeps the results then."""
        return hasattr(self.config, "workerinput")

    @property
    def only_collects(self) -> bool:
        """Whether nothing will run, so that nothing must be written."""
        return only_collects(self.config)


def only_collects(config: pytest.Config) -> bool:
    """Whether pytest is asked to show something (tests, fixtures, marks, its cache) instead of running tests."""
    return any(config.getoption(name, None) for name in SHOWING)


SHOWING = ("collectonly", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")

RUN = pytest.StashKey[Run]()
"""In `config.stash` of an active run."""
