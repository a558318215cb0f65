"""A plugin for an inner pytest: scenarios from the folder `standin_scenarios`, and experiments that start nothing.

The scenarios of a test decide themselves what happens: `experiment.run(raises=…, says=…)` notes that it was called, and
raises or returns what it was told to.
"""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from types import SimpleNamespace

from drainproof import errors
from drainproof.installed import ScenarioPackage

PACKAGE = "standin_scenarios"


def requirement(identity):
    """As `drainproof.scenario.requirement`, without the engine."""

    def mark(function):
        function.drainproof_requirement = identity
        return function

    return mark


def pytest_drainproof_scenarios(config, packages):
    folder = Path(os.environ.get("STANDIN", config.invocation_params.dir), PACKAGE)
    installed = [p for p in packages if p.name != "builtin"]
    packages[:] = [ScenarioPackage(name="builtin", module=PACKAGE, folder=folder), *installed]


def pytest_drainproof_laboratory(target, folder, progress):
    return Laboratory(target, folder, progress)


class Laboratory:
    def __init__(self, target, folder, progress):
        self.target, self.folder, self.progress = target, folder, progress
        self.versions = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "target.json").write_text(json.dumps(target.to_json()))

    def experiment(self, *, scenario, title):
        return Experiment(self, scenario, title)

    def close(self):
        (self.folder / "closed").touch()


class Experiment:
    def __init__(self, laboratory, scenario, title):
        self.laboratory, self.scenario, self.title = laboratory, scenario, title
        self.folder = None

    def run(self, *, raises=None, says="", phases=(), **evidence):
        self.folder = self.laboratory.folder / self.scenario
        self.folder.mkdir()  # a scenario whose experiment is run twice is a mistake
        (self.folder / "title").write_text(self.title)
        (self.folder / "evidence.json").write_text(json.dumps({**evidence, "raises": raises, "says": says}))
        for phase in phases:
            self.laboratory.progress(phase)
        self.laboratory.versions["python"] = "3.99"
        return conclude(self.folder)


def conclude(folder):
    evidence = json.loads((folder / "evidence.json").read_text())
    raises, says = evidence.pop("raises"), evidence.pop("says")
    if raises is not None:
        raise (getattr(errors, raises, None) or getattr(builtins, raises))(says)
    return SimpleNamespace(**evidence)


def pytest_drainproof_archive(folder):
    return Archive(folder)


class Archive:
    def __init__(self, folder):
        from drainproof.target.description import Target

        self.folder = folder
        self.target = Target.from_json(json.loads((folder / "target.json").read_text()))
        self.versions = {"python": "3.99"}

    def experiment(self, *, scenario, title):
        return Saved(self.folder / scenario)


class Saved:
    def __init__(self, folder):
        self.folder = folder

    def run(self, **_):
        return conclude(self.folder)
