"""Keeps the verdicts of a session and has the reports written: in the process that controls the session."""

from __future__ import annotations

import datetime
import platform
import shlex
import time
from collections.abc import Generator, Sequence
from importlib import metadata
from typing import Any

import pytest

import drainproof
from drainproof import gate
from drainproof.errors import UserError
from drainproof.evidence import digests
from drainproof.plugin import census, folders
from drainproof.plugin.naming import CHECK, SCENARIO
from drainproof.plugin.outcomes import relative, verdict_of
from drainproof.plugin.run import Run
from drainproof.plugin.usage import usage_error
from drainproof.requirement import SPECIFICATION
from drainproof.text import json_value, printable
from drainproof.verdict import RED, Bundle, Gate, Results, Stale, Verdict, judged_nothing

SELECTION = "drainproof_selection"
"""The key under which one worker of pytest-xdist says what became of the selection."""

COUNTS = "drainproof_counts"
"""The key under which that worker is told that it is the one. The controlling process names it: the ids of workers are
what the user likes (`--tx popen//id=foo`)."""

SHARE, CREDIT = 0.03, 1.0
"""The share of a session's time, and the seconds on top, that may be spent on writing reports before its end."""


class ResultsKeeper:
    """Collects verdicts, and writes the reports when the session begins, after each scenario, and at the end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._verdicts: dict[tuple[str, str], Verdict] = {}
        """By scenario and check: a clean-up that fails replaces the verdict of its check."""
        self._started = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._began = time.monotonic()
        self._took: float | None = None
        """Seconds from begin to end; None before: the digests of the evidence and results.json must say the same."""
        self._active = False
        self._ended = False
        self._lost_worker = False
        self._never_ran = False
        self._workers = 0
        """How many of pytest-xdist were started."""
        self._failed_besides: list[str] = []
        """What failed and is no verdict: tests that are no checks, clean-ups, modules that cannot be imported."""
        self._failures = 0
        """How many failures pytest has counted by the reports that were seen here."""
        self._gate: Gate | None = None
        self._stale: tuple[Stale, ...] = ()
        self._spent = 0.0
        self._versions: dict[str, Any] = {}
        self._bundle: Bundle | None = None
        self.problem = ""
        """Why a report could not be written; empty if they all were."""

    def results(self) -> Results:
        """What is known by now."""
        run = self._run
        versions = {
            "drainproof": drainproof.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: metadata.version(name) for name in ("pytest", "locust")},
        }
        found = Results(
            target={
                "name": run.target.name,
                "folder": str(run.target.folder),
                "manifest": json_value(run.target.to_json()),
                "digest": None if run.digest is None else dict(run.digest),
            },
            versions={**versions, "target": self._versions or run.versions},
            verdicts=tuple(self._verdicts.values()),
            started=self._started,
            seconds=round(time.monotonic() - self._began, 3) if self._took is None else self._took,
            aborted=self._lost_worker or self._never_ran or not self._ended,
            command=shlex.join(["pytest", *(run.redactor.text(str(a)) for a in run.config.invocation_params.args)]),
            specification=SPECIFICATION,
            deselected=run.deselected,
            gate=self._gate,
            stale=self._stale,
            bundle=self._bundle,
        )
        return run.redactor.results(found)

    def pytest_sessionstart(self) -> None:
        """Writes reports that say "aborted", for whatever may end the session before its first check."""
        if not self._run.only_collects:
            self._active = True
            self._write()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Sees whether the session reaches its end: an exception means that it did not."""
        result = yield
        self._ended = True
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the verdict of a check."""
        self._versions = getattr(report, "drainproof_versions", self._versions)
        self._count(report)
        verdict = verdict_of(report)
        if verdict is None and report.failed and report.when not in ("setup", "call", "teardown"):
            verdict = _of_crashed_worker(report)
        if verdict is None:
            if report.failed:
                self._fails_besides(report.nodeid)
            return
        key = verdict.scenario, verdict.check
        before = self._verdicts.get(key)
        if before is not None and before.rank <= verdict.rank:
            return  # a plugin has run the check again (a mark of pytest-rerunfailures): the worst of it counts
        self._verdicts[key] = verdict
        self._run.config.hook.pytest_drainproof_verdict(verdict=verdict)
        if getattr(report, "node", None) is not None:
            self.scenario_ended()  # from a worker: scenarios end there, here only their verdicts arrive

    def _fails_besides(self, nodeid: str) -> None:
        if nodeid not in self._failed_besides:
            self._failed_besides.append(nodeid)

    def _count(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Counts as pytest does: what its own count has more was added by something that says nothing of it."""
        if report.failed and not hasattr(report, "wasxfail"):
            self._failures += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes what could not be collected: with --continue-on-collection-errors, the rest is judged without it."""
        self._count(report)
        if report.failed:
            self._fails_besides(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Notices the end of a scenario."""
        result = yield
        scenario = item.stash.get(SCENARIO, None)
        if scenario is not None and (nextitem is None or nextitem.stash.get(SCENARIO, None) is not scenario):
            self.scenario_ended()
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Names the worker of pytest-xdist that counts what was selected, and saves it: the first one."""
        node.workerinput[COUNTS] = not self._workers
        self._workers += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker of pytest-xdist that dies takes tests with it that are not run any more."""
        self._lost_worker = self._lost_worker or error is not None
        told = getattr(node, "workeroutput", {}).get(SELECTION)
        if told is not None:
            run = self._run
            run.deselected, run.gone = told["deselected"], told["gone"]
            run.selected = {(scenario, check) for scenario, check in told["selected"]}

    @property
    def judged_nothing(self) -> bool:
        """Whether there is no verdict on anything: what pytest says of a run without tests is true of this one."""
        return judged_nothing(verdict.verdict for verdict in self._verdicts.values())

    def scenario_ended(self) -> None:
        """Writes the reports, unless too much of the time went into that already."""
        if self._active and self._spent <= CREDIT + SHARE * (time.monotonic() - self._began):
            self._write()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Says whether the gate is open, closes the evidence, writes the last reports, and sets the exit status."""
        if not self._active:
            return
        if self._run.archive is not None:
            self._versions = self._versions or json_value(getattr(self._run.archive, "versions", {}))
        self._took = round(time.monotonic() - self._began, 3)
        self._look_for_what_is_missing()
        unexplained = self._unexplained(session)
        asked = self._run.asked
        self._stale = () if asked.known is None else asked.known.stale(self.results())
        self._gate = self._judge(unexplained)
        unclosed = self._close_evidence()
        if unclosed:
            self._gate = self._judge([*unexplained, unclosed])
        self._write()
        if self.problem and self._gate is not None:
            # What can be written must not say that the gate is open, and the digests of the evidence vouch for that.
            failed = self.problem
            self._gate = self._judge([*unexplained, *filter(None, [unclosed]), failed])
            unclosed = self._close_evidence()
            self._write()
            self.problem = failed
        self.problem = unclosed or self.problem
        session.exitstatus = self._exit_status(session.exitstatus)

    def _look_for_what_is_missing(self) -> None:
        """Leaves a run incomplete that reached its end without a verdict on each check that was selected.

        Some plugin or conftest has taken checks out after the selection, or kept them from running.
        """
        run = self._run
        if self._lost_worker or not self._ended:
            return  # aborted: that says it
        if run.selected is None:
            if self._workers:
                self._never_ran = True
                run.problems.append(
                    "no worker of pytest-xdist told which checks were selected: nobody knows what was left out"
                )
            return
        missing = sorted(run.selected - set(self._verdicts))
        if missing:
            self._never_ran = True
            scenario, check = missing[0]
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            run.problems.append(
                f"selected, and never judged: {scenario} {check}{more}. A plugin or conftest kept it from running."
            )

    def _unexplained(self, session: pytest.Session) -> list[str]:
        """A sentence where pytest calls the session failed for more than the reports that were seen here.

        A plugin may fail a session without a report of a test, such as pytest-cov does it for --cov-fail-under. One
        that sets the exit status alone cannot be told from the failures of tests where there are some.
        """
        if session.testsfailed > self._failures:
            return ["a plugin of pytest made the session fail, and no test says why: see its own output"]
        failed_alone = session.exitstatus == pytest.ExitCode.TESTS_FAILED and not session.testsfailed
        if failed_alone and not self._run.problems:
            return ["a plugin of pytest set the exit status of the session to 1: see its own output"]
        return []

    def _judge(self, problems: Sequence[str]) -> Gate | None:
        """What the gate says, given what went wrong besides; None where none was asked for."""
        run = self._run
        if run.asked.rule is None:
            return None
        wrong = [run.redactor.text(printable(problem)) for problem in (*run.problems, *problems, *run.gone)]
        besides = [printable(test) for test in self._failed_besides]
        return gate.judge(run.asked.rule, self.results(), failed_besides=besides, problems=wrong)

    def _exit_status(self, status: int) -> int:
        """The exit status, given pytest's own: a gate decides in place of pytest, but never over what ended the run.

        `pytest.exit(returncode=0)` ends a run that would look green.
        """
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return status
        if self.problem or self._run.problems or self.results().aborted:
            return pytest.ExitCode.TESTS_FAILED
        if self._verdicts and self.judged_nothing and status == pytest.ExitCode.OK:
            return pytest.ExitCode.NO_TESTS_COLLECTED
        if self._gate is not None:
            return pytest.ExitCode.OK if self._gate.passed else pytest.ExitCode.TESTS_FAILED
        if any(verdict.verdict in RED and verdict.known is None for verdict in self._verdicts.values()):
            return pytest.ExitCode.TESTS_FAILED  # pytest may count another run of the same check alone
        return status

    def _close_evidence(self) -> str:
        """Has the digests of all evidence written, or finds those of saved evidence; gives what is wrong, or nothing.

        Nothing may be written to the evidence folder after that.
        """
        run = self._run
        folder = run.evidence_folder
        try:
            if run.archive is None:
                digest = digests.write(folder, results=self.results())
            else:
                digest = digests.of_manifest(folder)
        except OSError as error:
            return f"the digests of the evidence in {folder} cannot be written: {error.strerror or error}"
        except UserError as error:
            return str(error)
        if digest is not None:
            self._bundle = Bundle(folder=relative(folder, run.wanted.report_folder), digests=digest)
        return ""

    def _write(self) -> None:
        began = time.monotonic()
        folder = self._run.wanted.report_folder
        try:
            self._run.config.hook.pytest_drainproof_report(results=self.results(), folder=folder)
        except OSError as error:
            self.problem = f"the reports in {folder} cannot be written: {error.strerror or error}"
        except Exception as error:  # a foreign report must not take the session, and the other reports, with it
            self.problem = f"a report failed: {type(error).__name__}: {error}"
        else:
            self.problem = ""
        self.problem = self._run.redactor.text(self.problem)
        self._spent += time.monotonic() - began


def _of_crashed_worker(report: pytest.TestReport) -> Verdict:
    """pytest-xdist reports the test during which a worker died, and nothing is known of it but its name."""
    path, _, test = report.nodeid.partition("::")
    return Verdict(
        requirement="-",
        level="MUST",
        rule="",
        scenario=path,
        title=path,
        check=test,
        verdict="error",
        summary="the worker of pytest-xdist that ran this check died",
    )


class SessionFile:
    """Counts and saves which checks were selected, for judging again: in one worker, or in the only process."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Writes session.json. A disk that is full by now is a UsageError."""
        run = self._run
        if run.only_collects or not getattr(run.config, "workerinput", {COUNTS: True}).get(COUNTS):
            return
        found = census.take(session, run)
        run.deselected, run.gone, run.selected = found.left_out, list(found.gone), set(found.selected)
        if run.in_worker:
            output = getattr(run.config, "workeroutput")  # noqa: B009 - xdist sets it
            told = [list(key) for key in sorted(found.selected)]
            output[SELECTION] = {"deselected": run.deselected, "gone": run.gone, "selected": told}
        if run.archive is not None:
            return
        checks: dict[str, list[str]] = {}
        for item in session.items:
            check = item.stash.get(CHECK, None)
            if check is not None:
                checks.setdefault(check.scenario.id, []).append(check.name)
        if not checks:
            return
        try:
            saved = folders.SavedSession(
                checks=checks,
                deselected=run.deselected,
                repeat=run.repeat,
                digest=None if run.digest is None else dict(run.digest),
                packages=[{"name": p.name, "module": p.module, "distribution": p.distribution} for p in run.packages],
            )
            described = json_value(run.redactor.json(run.target.to_json()))
            folders.write_session(run.evidence_folder, saved, target=described)
        except OSError as error:
            raise usage_error(f"cannot write evidence to {run.evidence_folder}: {error.strerror}") from error
