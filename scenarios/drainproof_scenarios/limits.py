"""CONT-4 and CONT-5: what a container's limits do to a server in the ordinary course of things."""

from __future__ import annotations

import pytest
from drainproof.scenario import (
    Evidence,
    Experiment,
    Fault,
    Inconclusive,
    LaunchError,
    UntilBackInService,
    at_steady_state,
    closed,
    hold,
    launched,
    memory_limit,
    network_lost,
    paused,
    requirement,
    restricted,
    signal,
    steady,
    throttled,
    when_every_worker_served,
)

from drainproof_scenarios import _drain, _limits
from drainproof_scenarios._facts import Facts, rounded
from drainproof_scenarios._inside import evidence_of_failed_start

IN_FLIGHT = 4
"""Requests that are held in flight."""

AWAY = 3.0
"""Seconds that something is taken away: longer than what watchdogs and health checks find normal."""

KILLED = 137
"""128 + SIGKILL: what a container says whose main process was killed."""


def _under_load(experiment: Experiment, fault: Fault, *, workers: int) -> Evidence:
    """The experiment that all have in common: some load of each kind, the fault, and time to recover."""
    return experiment.run(
        load=[steady(rate=10, connections="new"), steady(rate=10, connections="reuse"), hold(IN_FLIGHT)],
        faults=[when_every_worker_served(fault)],
        workers=workers,
        observe=UntilBackInService(deadline=_limits.DEADLINE),
    )


@launched("container")
class TestMemoryLimitKillsTheServer:
    """The memory limit is reached and the main process killed, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return _under_load(experiment, memory_limit("main"), workers=workers)

    @requirement("CONT-4")
    def test_ends_as_killed(self, evidence: Evidence, facts: Facts) -> None:
        """No request hangs, and the container ends with status 137, or serves again."""
        evidence.require()
        status = evidence.exit.status if evidence.exit else None
        facts(exit_status=status, exit_after_s=rounded(evidence.exit_after), oom_killed=evidence.fault["oom_killed"])
        _limits.no_request_hangs(evidence, facts)
        if evidence.exit is None:
            _limits.serves_rightly_again(evidence, facts)
            return
        facts.summary(f"it ended with status {status}, and no request hung")
        assert status == KILLED, (
            f"its main process was killed for want of memory, and its container says {status} instead of {KILLED}"
        )


@launched("container")
class TestMemoryLimitKillsAWorker:
    """The memory limit is reached and only a worker killed."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment, with the most workers that are declared."""
        return _under_load(experiment, memory_limit("worker"), workers=max(experiment.target.workers))

    @requirement("CONT-4")
    def test_is_not_left_half_alive(self, evidence: Evidence, facts: Facts) -> None:
        """No request hangs; the worker is replaced, or the whole server ends with a status that is not 0."""
        evidence.require()
        status = evidence.exit.status if evidence.exit else None
        facts(exit_status=status, exit_after_s=rounded(evidence.exit_after), oom_killed=evidence.fault["oom_killed"])
        _limits.no_request_hangs(evidence, facts)
        if evidence.exit is None:
            _limits.serves_rightly_again(evidence, facts)
            return
        facts.summary(f"the whole server ended with status {status}, and no request hung")
        assert status != 0, "its worker was killed for want of memory, and it ended with status 0, as if all were well"


@launched("container")
class TestPaused:
    """The container is paused and resumed."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment, with the most workers that are declared."""
        return _under_load(experiment, paused(AWAY), workers=max(experiment.target.workers))

    @requirement("CONT-4")
    def test_serves_on(self, evidence: Evidence, facts: Facts) -> None:
        """No request hangs, and it serves rightly when it is resumed."""
        evidence.require()
        _limits.no_request_hangs(evidence, facts)
        _limits.serves_rightly_again(evidence, facts)


@launched("container")
class TestThrottled:
    """The container has a quarter of a CPU for a while."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment, with the most workers that are declared: users in a closed loop want more than a quarter."""
        return experiment.run(
            load=[closed(users=USERS), steady(rate=10, connections="new"), hold(IN_FLIGHT)],
            faults=[at_steady_state(throttled(AWAY))],
            workers=max(experiment.target.workers),
            observe=UntilBackInService(deadline=_limits.DEADLINE),
        )

    @requirement("CONT-4")
    def test_serves_on(self, evidence: Evidence, facts: Facts) -> None:
        """No request hangs, and it serves rightly when it has its CPU time back."""
        evidence.require()
        facts(periods_held_back=evidence.fault["periods_held_back"])
        _limits.no_request_hangs(evidence, facts)
        _limits.serves_rightly_again(evidence, facts)


USERS = 16


@launched("container")
class TestNetworkLost:
    """The container loses its network for a while."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment, with the most workers that are declared."""
        return _under_load(experiment, network_lost(AWAY), workers=max(experiment.target.workers))

    @requirement("CONT-4")
    def test_serves_new_connections(self, evidence: Evidence, facts: Facts) -> None:
        """With the network back it answers new connections; what the network took away is nobody's fault."""
        evidence.require()
        _limits.no_request_hangs(evidence, facts, only_new_connections=True)
        _limits.serves_rightly_again(evidence, facts, only_new_connections=True)


@launched("container")
class TestRestricted:
    """As a user who is not root, on a read-only root file system, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment: it comes up, serves, and stops."""
        try:
            return experiment.run(
                load=[steady(rate=20, connections="new"), steady(rate=20), hold(IN_FLIGHT)],
                given=[restricted()],
                faults=[when_every_worker_served(signal("SIGTERM"))],
                workers=workers,
            )
        except LaunchError as error:  # that is what CONT-5 is about
            return evidence_of_failed_start(experiment, error)

    @requirement("CONT-5")
    def test_starts_serves_and_stops(self, evidence: Evidence, facts: Facts) -> None:
        """It comes up, serves rightly, and stops as it does as root."""
        evidence.require_given()
        failure = evidence.launch_failure
        facts(given=evidence.given[0]["because"])
        if failure is not None:
            facts.details(failure)
        assert failure is None, f"it did not come up: {failure.splitlines()[0] if failure else ''}"
        evidence.require()
        wrong = evidence.requests.before().fate("wrong", "dropped", "cut", "hung")
        if len(evidence.requests.before()) == 0:
            raise Inconclusive("no request was answered before the signal")
        facts(requests_answered_wrongly=len(wrong))
        facts.details("\n".join(wrong.lines()))
        assert not wrong, f"{len(wrong)} of {len(evidence.requests.before())} requests got no right answer"
        _drain.accepted_are_answered(evidence, facts, at_least=1)
        _drain.exits_in_grace(evidence, facts)
        facts.summary(f"it came up, served, and stopped in order ({evidence.given[0]['because']})")
