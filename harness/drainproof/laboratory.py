"""Where experiments come from: a laboratory runs them, an archive finds them again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from drainproof.errors import DrainproofError, HarnessError, Inconclusive, UserError
from drainproof.evidence import Evidence
from drainproof.experiment import Experiment, Facilities, LiveExperiment, check, conclude
from drainproof.faults.bench import Fault, Injection
from drainproof.fleet import Front
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Stream
from drainproof.observe import Observer
from drainproof.recorder import EXPERIMENT
from drainproof.redaction import Redactor
from drainproof.target.abandoned import remove_abandoned
from drainproof.target.description import Target
from drainproof.target.launcher import Launcher
from drainproof.target.process import ProcessLauncher
from drainproof.target.systemd import SystemdLauncher

TARGET = "target.json"
"""In the root of the evidence: the target as resolved, for judging without its folder."""


def folder_name(scenario: str) -> str:
    """The name of the evidence folder of a scenario: its id, in characters that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", scenario).strip("-")


class Source(Protocol):
    """What a run takes its experiments from."""

    target: Target

    @property
    def versions(self) -> dict[str, Any]:
        """What is known of the target's environment (Python, packages) so far."""

    def experiment(self, *, scenario: str, title: str) -> Experiment:
        """The experiment of one scenario, not run yet."""

    def close(self) -> None:
        """Ends what belongs to the source. Idempotent."""


class Laboratory:
    """Runs experiments on the real target. One load engine serves the whole session."""

    def __init__(self, *, target: Target, folder: Path, progress: Callable[[str], None]) -> None:
        self.target = target
        self._folder = folder
        self._progress = progress
        self._engine = LoadEngine()
        self._redactor = Redactor.of(target)
        self._launcher = launcher_for(target, progress, hidden=self._redactor.forms)
        self._starts: list[float] = []
        self._ordinary = 0
        self._facilities = Facilities(
            engine=self._engine,
            launcher=self._launcher,
            usual_start=self._usual_start,
            ordinary_start=self._ordinary_start,
            starts=self._starts,
            failed_starts=[],
            redactor=self._redactor,
            versions={},
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TARGET).write_text(
                json.dumps(self._redactor.json(target.to_json()), indent=1) + "\n", encoding="utf-8"
            )
        except OSError as error:
            raise UserError(f"cannot write evidence to {folder}: {error.strerror}") from error
        remove_abandoned()
        self._engine.start()  # it imports Locust while the first target starts

    @property
    def versions(self) -> dict[str, Any]:
        """What is known of the target's environment so far."""
        return self._facilities.versions

    def experiment(self, *, scenario: str, title: str) -> LiveExperiment:
        """The experiment of one scenario, not run yet."""
        return LiveExperiment(
            target=self.target,
            scenario=scenario,
            title=title,
            folder=self._folder / folder_name(scenario),
            facilities=self._facilities,
            progress=self._progress,
        )

    def _usual_start(self) -> float:
        """The median of the starts seen so far, in seconds; starts the target once where there was none."""
        if not self._starts:
            self._progress("measuring a start")
            self._ordinary_start(max(self.target.workers))
        return statistics.median(self._starts)

    def _ordinary_start(self, workers: int, observe: Observer | None = None) -> None:
        """Starts the target once, as it is. Raises LaunchError."""
        self._ordinary += 1
        scenario = f"calibration-{os.getpid()}-{self._ordinary}"
        experiment = self.experiment(scenario=scenario, title="one ordinary start")
        experiment.run(workers=workers, observe=observe or _Nothing())

    def preflight(self) -> list[str]:
        """What is likely to go wrong, before anything is judged. Starts a target in a container once.

        Raises nothing: where it does not start, or there is no engine, the experiments will say so.
        """
        if self.target.launch != "container":
            return []
        from drainproof import preflight  # noqa: PLC0415 - only such a run pays for it
        from drainproof.target.container.launcher import ContainerLauncher  # noqa: PLC0415

        assert isinstance(self._launcher, ContainerLauncher)
        try:
            found = preflight.of_image(image=self._launcher.image, target=self.target)
        except DrainproofError:
            return []
        look = preflight.LookAtSignals()
        with contextlib.suppress(DrainproofError):
            self._ordinary_start(max(self.target.workers), look)
        return found + look.found

    def close(self) -> None:
        """Ends the load engine and what the launcher holds. Idempotent."""
        try:
            self._launcher.close()
        finally:
            self._engine.close()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def launcher_for(target: Target, progress: Callable[[str], None], *, hidden: Sequence[str]) -> Launcher:
    """The launcher for the target's launch mode; `hidden` are the forms of its secrets."""
    if target.launch == "container":
        from drainproof.target.container.launcher import ContainerLauncher  # noqa: PLC0415 - only such a run pays for it

        return ContainerLauncher(target=target, progress=progress, hidden=hidden)
    return (SystemdLauncher if target.launch == "systemd" else ProcessLauncher)(hidden=hidden)


class _Nothing:
    """Observes nothing: the start was all that was wanted."""

    def observe(self, bench: Any, *, since: float) -> None:
        """Returns at once."""

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "nothing"}


class Archive:
    """Gives the saved evidence of an earlier run to the same checks; touches nothing but its folder."""

    def __init__(self, *, folder: Path) -> None:
        self._folder = folder
        try:
            self.target = Target.from_json(json.loads((folder / TARGET).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise UserError(f"{folder} is not the evidence of a run: it has no {TARGET}") from error
        except (OSError, ValueError, HarnessError) as error:
            raise UserError(f"{folder / TARGET} cannot be read: {error}") from error

    @property
    def versions(self) -> dict[str, Any]:
        """What the saved experiments say of the target's environment."""
        for path in sorted(self._folder.glob(f"*/{EXPERIMENT}")):
            try:
                event = Evidence(path.parent).find("environment")
            except HarnessError:
                continue
            if event is not None:
                return {k: v for k, v in event.items() if k not in ("t", "event")}
        return {}

    def experiment(self, *, scenario: str, title: str) -> SavedExperiment:
        """The saved experiment of one scenario."""
        return SavedExperiment(target=self.target, scenario=scenario, folder=self._folder / folder_name(scenario))

    def close(self) -> None:
        """Nothing to end."""


class SavedExperiment:
    """An experiment that was run before."""

    def __init__(self, *, target: Target, scenario: str, folder: Path) -> None:
        self.target = target
        self.folder: Path | None = None
        self._scenario = scenario
        self._folder = folder

    def run(
        self,
        *,
        load: Sequence[Stream] = (),
        faults: Sequence[Injection] = (),
        given: Sequence[Fault] = (),
        workers: int = 1,
        observe: Observer | None = None,
        restart: bool = False,
        behind: Front | None = None,
    ) -> Evidence:
        """Returns the saved evidence. Raises what ended the experiment then, or Inconclusive if nothing was saved."""
        check(self.target, load=load, faults=(*given, *(i.fault for i in faults)), behind=behind)
        if not self._folder.is_dir():
            raise Inconclusive(f"no evidence was saved for {self._scenario}")
        self.folder = self._folder
        return conclude(self._folder)
