"""WORK: what a supervisor does about its workers, and what clients see of it."""

from __future__ import annotations

import pytest
from drainproof.faults.exceptions import MESSAGE
from drainproof.scenario import (
    SLOW,
    Evidence,
    Experiment,
    Inconclusive,
    Stream,
    Unsupported,
    UntilGone,
    UntilItGivesUp,
    UntilRecovered,
    WhileNobodyServes,
    WhileRestarting,
    after,
    before_launch,
    closed,
    hold,
    loads_fail,
    requirement,
    steady,
    supervisor_killed,
    when_workers_are_known,
    worker_killed,
    worker_stopped,
    workers_never_load,
)

from drainproof_scenarios import _workers
from drainproof_scenarios._facts import Facts, rounded

FOR_EVER = 250
"""Attempts: more than any supervisor makes while it is looked at."""

STANDS_STILL = 2.0
"""Seconds that a worker is stopped: longer than a request takes, shorter than clients wait."""


def _in_flight(workers: int) -> list[Stream]:
    """Requests in flight on new connections all the time, so that every worker holds some of them."""
    return [hold(4 * workers, stagger=0.9, connections="new"), steady(rate=10, connections="new")]


def _few(workers: int) -> list[Stream]:
    """Clients that ask again and again, but not at once where they are turned away: workers that serve are seen to."""
    return [closed(users=2 * workers, request=SLOW, think_time=0.5), steady(rate=10, connections="new")]


@pytest.mark.parametrize("death", ["SIGKILL", "SIGSEGV"], scope="class")
class TestWorkerDies:
    """{death} to a worker with requests in flight, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, death: str, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_in_flight(supervised_workers),
            faults=[when_workers_are_known(worker_killed(death))],
            observe=UntilRecovered(),
            workers=supervised_workers,
        )

    @requirement("WORK-1")
    def test_is_replaced(self, evidence: Evidence, facts: Facts) -> None:
        """It is replaced, and a real request succeeds again within the declared time."""
        _workers.is_replaced(evidence, facts)

    @requirement("WORK-2")
    def test_its_requests_are_answered(self, evidence: Evidence, facts: Facts) -> None:
        """What was in flight on it is answered within the time that a client waits, or ends with its connection."""
        _workers.requests_on_it_are_answered(evidence, facts)

    @requirement("WORK-3")
    def test_others_are_untouched(self, evidence: Evidence, facts: Facts) -> None:
        """Requests on other workers get their right answer."""
        _workers.others_are_untouched(evidence, facts)


class TestWorkerStandsStill:
    """A worker that stands still for two seconds with requests in flight, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_in_flight(supervised_workers),
            faults=[when_workers_are_known(worker_stopped(STANDS_STILL))],
            observe=UntilRecovered(),
            workers=supervised_workers,
        )

    @requirement("WORK-2")
    def test_its_requests_are_answered(self, evidence: Evidence, facts: Facts) -> None:
        """What was in flight on it is answered within the time that a client waits."""
        _workers.requests_on_it_are_answered(evidence, facts)


class TestSuccessorsDie:
    """A worker is killed, and each of its successors at birth, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_few(supervised_workers),
            faults=[when_workers_are_known(worker_killed(at_birth=FOR_EVER))],
            observe=WhileRestarting(),
            workers=supervised_workers,
        )

    @requirement("WORK-4")
    def test_attempts_follow_the_schedule(self, evidence: Evidence, facts: Facts) -> None:
        """Attempts follow the declared schedule and stay within its limit."""
        _workers.follows_its_schedule(evidence, facts)

    @requirement("WORK-6")
    def test_settings_are_visible(self, evidence: Evidence, facts: Facts) -> None:
        """The retry settings in force are visible through the server's own API."""
        _workers.tells_its_settings(evidence, facts)


class TestEveryWorkerDies:
    """All workers are killed at once, and each successor at birth, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_few(supervised_workers),
            faults=[when_workers_are_known(worker_killed(which="all", at_birth=FOR_EVER))],
            observe=WhileNobodyServes(),
            workers=supervised_workers,
        )

    @requirement("WORK-8")
    def test_answers_without_workers(self, evidence: Evidence, facts: Facts) -> None:
        """While no worker lives, readiness is negative and requests get an answer."""
        evidence.require()
        since, until = _workers.nobody_lived(evidence)
        _workers.answers_without_workers(evidence, facts, since=since, until=until)


class TestReplacementsCannotLoad:
    """A worker dies, and from then on no model can be loaded, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_few(supervised_workers),
            faults=[when_workers_are_known(loads_fail(FOR_EVER)), after(0.0, worker_killed())],
            observe=WhileRestarting(),
            workers=supervised_workers,
        )

    @requirement("WORK-5")
    def test_attempts_stop(self, evidence: Evidence, facts: Facts) -> None:
        """Attempts stop at the limit."""
        _at_least_one_load_failed(evidence)
        _workers.stops_trying(evidence, facts)

    @requirement("WORK-7")
    def test_every_attempt_logs_the_cause(self, evidence: Evidence, facts: Facts) -> None:
        """Every attempt that failed logs its cause."""
        evidence.require()
        fired = {int(shot["pid"]) for shot in evidence.shim.fired("load")}
        failed = [life for life in _workers.successors(evidence) if life.own_pid in fired and life.died is not None]
        _workers.logs_every_cause(evidence, facts, failed=failed, cause=MESSAGE)


class TestReplacementLoadsInTheEnd:
    """A worker dies, and its first successor cannot load the model, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        if experiment.target.policy.restart.most_attempts() in (0, 1):
            raise Unsupported("the declared limit allows no second attempt")
        return experiment.run(
            load=_few(supervised_workers),
            faults=[when_workers_are_known(loads_fail(1)), after(0.0, worker_killed())],
            observe=UntilRecovered(attempts=1),
            workers=supervised_workers,
        )

    @requirement("WORK-1")
    def test_is_replaced(self, evidence: Evidence, facts: Facts) -> None:
        """The next one comes up, and a real request succeeds within the declared time."""
        _at_least_one_load_failed(evidence)
        _workers.is_replaced(evidence, facts, failing=1)

    @requirement("WORK-4")
    def test_attempts_follow_the_schedule(self, evidence: Evidence, facts: Facts) -> None:
        """Attempts follow the declared schedule, also where a worker takes its time to fail."""
        _at_least_one_load_failed(evidence)
        _workers.follows_its_schedule(evidence, facts)


def _at_least_one_load_failed(evidence: Evidence) -> None:
    evidence.require()
    if not evidence.shim.fired("load"):
        raise Inconclusive("no successor came as far as to load its model")


class TestNoWorkerEverLoads:
    """A start at which no worker can load its model, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, worker_failure: str, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            faults=[before_launch(workers_never_load())], observe=UntilItGivesUp(), workers=supervised_workers
        )

    @requirement("WORK-5")
    def test_attempts_stop(self, evidence: Evidence, facts: Facts) -> None:
        """Each worker is started once and then restarted up to the limit."""
        _workers.stops_trying(evidence, facts, first=evidence.workers)

    @requirement("WORK-7")
    def test_every_attempt_logs_the_cause(self, evidence: Evidence, facts: Facts) -> None:
        """Every attempt logs its cause."""
        evidence.require()
        provocation = evidence.target.worker_failure
        if provocation is None or provocation.names_cause is None:
            raise Unsupported("the manifest does not say what the cause is: [provoke.worker_failure] names_cause")
        failed = [life for life in evidence.lives.workers if life.died is not None]
        _workers.logs_every_cause(evidence, facts, failed=failed, cause=provocation.names_cause)

    @requirement("WORK-8")
    def test_is_not_ready(self, evidence: Evidence, facts: Facts) -> None:
        """It does not say that it is ready, and answers (or refuses) a real request in the end."""
        evidence.require()
        _workers.is_not_ready(evidence, facts)


class TestSupervisorDies:
    """SIGKILL to the supervisor, {supervised_workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, supervised_workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_few(supervised_workers),
            faults=[when_workers_are_known(supervisor_killed())],
            observe=UntilGone(),
            workers=supervised_workers,
        )

    @requirement("WORK-9")
    def test_no_worker_lives_on(self, evidence: Evidence, facts: Facts) -> None:
        """No worker is left within the grace period."""
        evidence.require()
        died = max(float(one["died"]) for one in evidence.fault["supervisors"])
        t = float(evidence.fault["t"])
        workers = [life for life in evidence.lives.workers if life.died is None or life.died > t]
        left = [life for life in workers if life.died is None and evidence.gone is None]
        ends = [life.died for life in workers if life.died is not None]
        facts(
            workers=len(workers),
            live_on=len(left),
            last_worker_gone_after_s=rounded(max(ends) - died) if ends and not left else None,
            grace_period_s=evidence.policy.grace_period,
        )
        facts.summary(f"all {len(workers)} workers were gone soon after their supervisor")
        facts.details("\n".join(f"pid {life.pid}: {' '.join(life.cmdline)}" for life in left))
        assert not left, (
            f"{len(left)} of {len(workers)} workers live on {evidence.observed_until - died:.1f} s after their "
            "supervisor was killed"
        )
