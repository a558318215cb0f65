"""Turns the plugin on for a run with a target or saved evidence. Nothing of this is imported in any other run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drainproof import installed
from drainproof.errors import DrainproofError, UserError
from drainproof.plugin import asked, collection, fixtures, folders, options, packages
from drainproof.plugin.lines import LiveOutput
from drainproof.plugin.options import Wanted
from drainproof.plugin.outcomes import Outcomes
from drainproof.plugin.preflight import Preflight
from drainproof.plugin.results import ResultsKeeper, SessionFile
from drainproof.plugin.run import RUN, Archive, Laboratory, Run, only_collects
from drainproof.plugin.summary import AfterErrors, Summary
from drainproof.plugin.termination import Termination
from drainproof.plugin.usage import usage_error
from drainproof.redaction import Redactor
from drainproof.target.digest import of_folder
from drainproof.target.modes import IN_WORDS
from drainproof.text import printable

if TYPE_CHECKING:
    from drainproof.target.description import Target

EVIDENCE_FOLDER = "drainproof_evidence_folder"
"""The key under which a worker of pytest-xdist is told where the evidence belongs."""

DIGEST = "drainproof_digest"
"""The key under which it is told what the target is known by."""

SPREAD = ("load", "worksteal", "loadgroup")
"""Ways of pytest-xdist to distribute tests that take the checks of a scenario apart."""


def activate(config: pytest.Config, wanted: Wanted) -> None:
    """Registers everything that a run needs. Raises UsageError, with the text of what is wrong."""
    defaults = Defaults()
    config.pluginmanager.register(defaults, "drainproof-defaults")
    try:
        run = _open(config, wanted)
        reports = installed.report_plugins()
        arguments = _arguments(run)
    except DrainproofError as error:
        text = str(error)
        raise usage_error(Redactor.before_a_target(text).text(text)) from error
    config.stash[RUN] = run
    for package in run.packages:
        pytest.register_assert_rewrite(package.module)
    if arguments is not None:
        config.args = arguments
    if wanted.scenarios_only and not config.getoption("file_or_dir", None):
        config.args, config.option.pyargs = collection.args_for(run.packages), True
        config.args_source = config.ArgsSource.ARGS
    _refuse_reruns(config)
    _distribute(config)
    _register(config, run, reports)


def _distribute(config: pytest.Config) -> None:
    """Makes pytest-xdist keep the checks of a scenario together, and not replace a worker that died.

    With whole classes as its units, it gives the test that killed a worker to the next one, and then waits for ever for
    units that have nothing left (seen in 3.8).
    """
    if config.getoption("dist", "no") == "each":
        raise pytest.UsageError("--dist=each would run every experiment in every worker at once; use -n NUMBER alone")
    if config.getoption("dist", "no") in SPREAD:
        config.option.dist = "loadscope"
    if config.getoption("maxworkerrestart", "") is None:
        config.option.maxworkerrestart = "0"


def _refuse_reruns(config: pytest.Config) -> None:
    """Raises UsageError where pytest-rerunfailures would run what failed again until it passes.

    A server that loses requests once in three runs would be called conforming. (Its mark on a single check cannot be
    seen here: `ResultsKeeper` keeps the worst of what the check said.)
    """
    try:
        asked_for = [config.getoption(name, None) for name in ("force_reruns", "reruns")]
        given = next((each for each in asked_for if each is not None), None)
        number = int(config.getini("reruns") if given is None else given)
    except (ValueError, TypeError):  # nobody has such an option, or what it says is no number
        return
    if number > 0:
        raise pytest.UsageError(
            f"reruns={number} would run a check that failed again until it passes, and hide the failure. Leave "
            f"--reruns out (-o reruns=0 where a configuration file sets it); {options.name_of(config, options.REPEAT)}="
            "N runs each scenario N times and says how often it failed."
        )


def _open(config: pytest.Config, wanted: Wanted) -> Run:
    option = options.name_of(config, options.REPORT_DIR)
    reports = folders.ReportFolder(wanted.report_folder, option=option)
    asked.refuse_own_baseline(config, wanted)
    asks, mistake = asked.Asked(), None
    try:
        asks = asked.read(config, wanted)
    except UserError as error:
        mistake = error  # told when the reports of the run before are gone, as with any other mistake
    writes = not only_collects(config) and not hasattr(config, "workerinput")
    if writes:
        config.add_cleanup(reports.release)
        reports.begin()
        _require_a_judgement(config)
    if mistake is not None:
        raise mistake
    found = packages.scenario_packages(config)
    archive: Archive | None = None
    saved: folders.SavedSession | None = None
    if wanted.evidence is not None:
        folder = folders.find_evidence(wanted.evidence, option=wanted.name)
        saved = folders.read_session(folder, option=wanted.name)
        archive = config.hook.pytest_drainproof_archive(config=config, folder=folder)
        assert archive is not None  # the default implementation never gives None
        target = archive.target
    else:
        assert wanted.target is not None  # one of the two is set
        target = _load(wanted.target, wanted.launch)
        folder = Path()
    asked.require_same_target(config, asks, name=target.name)
    run = Run(
        config=config,
        wanted=wanted,
        target=target,
        packages=found,
        evidence_folder=folder,
        archive=archive,
        saved=saved,
        asked=asks,
    )
    if run.only_collects:
        return run
    if run.in_worker:
        if archive is None:
            given = getattr(config, "workerinput")  # noqa: B009 - xdist sets it
            run.evidence_folder, run.known_digest = Path(given[EVIDENCE_FOLDER]), given[DIGEST]
        return run
    reports.prepare()
    if archive is None:
        run.evidence_folder = folders.new_evidence_folder(wanted.report_folder, option=option)
        if target.launch != "container":
            run.known_digest = of_folder(target)
    elif saved is not None:
        run.known_digest = saved.digest
    return run


def _require_a_judgement(config: pytest.Config) -> None:
    """Raises UserError where no check can fail, since such a run would look green."""
    if not __debug__:
        raise UserError("python -O and PYTHONOPTIMIZE take the assertions out of the checks: run without them")
    for name, dest in (("--setup-plan", "setupplan"), ("--setup-only", "setuponly")):
        if config.getoption(dest, False):
            raise UserError(
                f"{name} runs no check, so nothing would be judged. Leave it out; --collect-only shows what would run, "
                "--setup-show what is set up while it runs."
            )


def _load(path: Path, launch: str | None) -> Target:
    from drainproof.target.manifest import load_target  # noqa: PLC0415 - needs pydantic, which takes its time

    return load_target(path, launch=launch)


def _arguments(run: Run) -> list[str] | None:
    """The paths of the command line, with those that name scenarios by node id resolved; None if there are none."""
    given = run.config.getoption("file_or_dir", None)
    if not given:
        return None
    here = run.config.invocation_params.dir
    return [packages.resolve(str(each), packages=run.packages, here=here) or str(each) for each in given]


def _register(config: pytest.Config, run: Run, reports: list[tuple[str, object]]) -> None:
    manager = config.pluginmanager
    manager.register(fixtures, "drainproof-fixtures")
    manager.register(collection.Collection(run), "drainproof-collection")
    manager.register(collection.NaturalOrder(), "drainproof-natural-order")
    manager.register(SessionFile(run), "drainproof-session-file")
    manager.register(Outcomes(run), "drainproof-outcomes")
    manager.register(LiveOutput(run), "drainproof-live-output")
    if not run.in_worker:
        manager.register(Preflight(run), "drainproof-preflight")
        manager.register(Termination(run), "drainproof-termination")
        for name, report in reports:
            manager.register(report, f"drainproof-report-{name}")
        keeper = ResultsKeeper(run)
        manager.register(keeper, "drainproof-results")
        manager.register(Summary(run, keeper), "drainproof-summary")
        manager.register(AfterErrors(), "drainproof-after-errors")
    manager.register(Frame(run), "drainproof-frame")


class Defaults:
    """Experiments on this machine, unless another plugin has something else."""

    @pytest.hookimpl(trylast=True)
    def pytest_drainproof_laboratory(self, target: Target, folder: Path, progress: Callable[[str], None]) -> Laboratory:
        """The laboratory that starts the target as a process."""
        from drainproof import laboratory  # noqa: PLC0415 - only a run that gets this far pays for the import

        return laboratory.Laboratory(target=target, folder=folder, progress=progress)

    @pytest.hookimpl(trylast=True)
    def pytest_drainproof_archive(self, folder: Path) -> Archive:
        """The archive that reads evidence folders."""
        from drainproof import laboratory  # noqa: PLC0415 - as above

        return laboratory.Archive(folder=folder)


class Frame:
    """What is around a run: its line in the header, what workers of pytest-xdist need to know, and the clean-up."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def pytest_report_header(self) -> str:
        """Says what is judged."""
        run = self._run
        where = f"in {run.wanted.given}" if run.archive is None else f"by the evidence in {run.evidence_folder}"
        how = "" if run.target.launch == "process" else f", launched as {IN_WORDS[run.target.launch]}"
        return f"drainproof: judging {printable(run.target.name)} {where}{how}"

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a worker where the evidence belongs, what the target is known by, and what to run again."""
        node.workerinput[EVIDENCE_FOLDER] = str(self._run.evidence_folder)
        node.workerinput[DIGEST] = None if self._run.digest is None else dict(self._run.digest)
        rerun = self._run.asked.rerun
        node.workerinput[asked.RERUN] = None if rerun is None else [list(key) for key in sorted(rerun)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends the laboratory. If that fails, the session fails, and still shows its results.

        It comes before the results are closed, being registered last: what the laboratory writes is evidence too.
        """
        laboratory, self._run.laboratory = self._run.laboratory, None
        if laboratory is None:
            return
        try:
            laboratory.close()
        except Exception as error:
            if self._run.in_worker:
                raise
            self._run.problems.append(f"the laboratory could not be closed: {type(error).__name__}: {error}")
            if session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        """Leaves no empty folder behind."""
        run = self._run
        if run.archive is None and not run.in_worker and not run.only_collects:
            folders.discard_if_empty(run.evidence_folder)
