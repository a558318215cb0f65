"""START: coming up, and not coming up."""

from __future__ import annotations

import pytest
from drainproof.load.answer import grpc_code
from drainproof.scenario import (
    Evidence,
    Experiment,
    Inconclusive,
    ReadyButNotServing,
    UntilStarted,
    as_soon_as_it_listens,
    at_start_up,
    before_launch,
    hold,
    launched,
    load_failure,
    port_taken,
    requirement,
    signal,
    steady,
    when_every_worker_served,
)

from drainproof_scenarios import _start
from drainproof_scenarios._facts import Facts, all_workers_serve, ended, exit_facts, no_debris


class TestStart:
    """A start, SIGTERM, and a start on the same port, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        try:
            return experiment.run(
                load=[steady(rate=40, connections="new"), steady(rate=20), hold(4)],
                faults=[when_every_worker_served(signal("SIGTERM"))],
                workers=workers,
                restart=experiment.target.launch != "container",
            )
        except ReadyButNotServing:  # that is what START-1 is about
            assert experiment.folder is not None
            return Evidence(experiment.folder)

    @requirement("START-1")
    def test_ready_means_serving(self, evidence: Evidence, facts: Facts) -> None:
        """The first real request after the first ready answer succeeds."""
        first = evidence.find("first_predict")
        assert first is not None, "the target was never ready"
        launch, ready = evidence.moment("launch"), evidence.moment("ready")
        assert launch is not None and ready is not None
        status = first["status"]
        if first.get("protocol") == "grpc" and status is not None:
            status = grpc_code(status)
        facts(ready_after_s=ready - launch, first_request_status=status)
        assert first["right"], f"ready, but the first real request was not answered rightly: {first['wrong']}"
        if evidence.faults:
            wrong = evidence.requests.before().not_answered()
            facts(requests_before_signal=len(evidence.requests.before()), not_right=len(wrong))
            facts.details("\n".join(wrong.lines()))
            assert not wrong, f"ready, but {len(wrong)} of the first requests were not answered rightly"

    @requirement("START-6")
    def test_every_worker_serves(self, evidence: Evidence, facts: Facts) -> None:
        """As many distinct processes serve as workers are declared: own connections, or answer behind one that does."""
        servers = evidence.find("servers")
        if servers is None:
            raise Inconclusive("which processes serve was not seen: it never served, or only root may look into them")
        pids = servers["pids"]
        facts(serving_processes=len(pids), declared_workers=servers["declared"], pids=pids)
        all_workers_serve(servers)

    @launched("process", "systemd")  # the next container has its ports, and all else, for itself
    @requirement("START-7")
    def test_starts_again_on_the_same_port(self, evidence: Evidence, facts: Facts) -> None:
        """A second start right after the exit becomes ready on the same port."""
        ended(evidence)
        again = evidence.find("restart")
        if again is None or again["ready"] is None:
            raise Inconclusive("it was not started again")
        facts(ready_again=again["ready"], seconds=again["seconds"])
        facts.details(again["because"])
        assert again["ready"], "it did not come up again on the same port right after its exit"


BIND_FAILED = (
    r"in use|EADDRINUSE|errno 98|(fail|error|cannot|could not|can't|unable).*(bind|listen|\b{port}\b)"
    r"|(bind|listen|\b{port}\b).*(fail|error|cannot|could not|denied|taken)"
)
"""What an output says that names a port that cannot be bound (a banner with the port number is not enough)."""


@launched("process", "systemd")  # in a container nobody else can have the port
class TestPortTaken:
    """A start with the {port_name} port taken by somebody else, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, port_name: str, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(faults=[before_launch(port_taken(port_name))], observe=UntilStarted(), workers=workers)

    @requirement("START-3")
    def test_clear_error_and_exit(self, evidence: Evidence, facts: Facts) -> None:
        """It ends non-zero within the start-up deadline and names the port or the reason."""
        evidence.require()
        port = evidence.fault["port"]
        named = evidence.output.matching(BIND_FAILED.format(port=port))
        facts(exit_status=evidence.exit and evidence.exit.status, **exit_facts(evidence), names_the_cause=bool(named))
        facts.details("\n".join(named[:3] or evidence.output.tail(5, until=evidence.observed_until)))
        deadline = evidence.target.start_deadline
        assert evidence.exit is not None, f"it hangs: still alive {deadline:g} s after a start on a port that is taken"
        assert evidence.exit.status != 0, "it could not bind its port and ended with status 0"
        assert named, "its output names neither the port nor that it is in use"

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts) -> None:
        """Its output has none of asyncio's signatures of an unclean end."""
        evidence.require()
        no_debris(evidence, facts)


class TestModelCannotBeLoaded:
    """A start with a model that cannot be loaded, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            faults=[before_launch(load_failure())], observe=UntilStarted(unless_serving=True), workers=workers
        )

    @requirement("START-2")
    def test_ends_with_the_cause(self, evidence: Evidence, facts: Facts) -> None:
        """It ends non-zero within the start-up deadline, names the cause, and leaves neither processes nor debris."""
        evidence.require()
        provocation = evidence.target.load_failure
        _start.ends_without_its_model(evidence, facts, cause=provocation.names_cause if provocation else None)


MOMENTS = {"at-once": 0.0, "20%": 0.2, "40%": 0.4, "60%": 0.6, "80%": 0.8, "listening": None}


@pytest.mark.parametrize("moment", list(MOMENTS), scope="class")
class TestSigtermDuringStartUp:
    """SIGTERM during the start-up ({moment}), {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int, moment: str) -> Evidence:
        """The experiment. A moment that falls behind the opening of the port is moved to the opening."""
        fraction, sigterm = MOMENTS[moment], signal("SIGTERM")
        injection = as_soon_as_it_listens(sigterm) if fraction is None else at_start_up(fraction, sigterm)
        return experiment.run(faults=[injection], workers=workers)

    @requirement("START-4")
    def test_ends_in_time_without_orphans(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period, with all its processes."""
        evidence.require()
        launch = evidence.moment("launch")
        assert launch is not None
        survivors = evidence.find("survivors")
        facts(
            signal_after_launch_s=evidence.fault["t"] - launch,
            **exit_facts(evidence),
            exit_status=evidence.exit and evidence.exit.status,
            survivors=len(survivors["processes"]) if survivors else 0,
        )
        facts.details("\n".join(evidence.output.tail(5, until=evidence.observed_until)))
        grace = evidence.policy.grace_period
        assert evidence.exit is not None, f"it was still alive when its grace period of {grace:g} s was over"
        assert evidence.exit_after is not None and evidence.exit_after <= grace, (
            f"it took {evidence.exit_after:.1f} s to end, its grace period is {grace:g} s"
        )
        assert survivors is None, "processes of it live on"
