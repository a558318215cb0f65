"""START: a multiprocessing start method that was set before the server's first line."""

from __future__ import annotations

import pytest
from drainproof.scenario import (
    Evidence,
    Experiment,
    Inconclusive,
    LaunchError,
    hold,
    requirement,
    signal,
    start_method,
    steady,
    when_every_worker_served,
)

from drainproof_scenarios import _drain
from drainproof_scenarios._facts import Facts, all_workers_serve
from drainproof_scenarios._inside import evidence_of_failed_start, require_shim_in_servers

GIVEN = {
    "spawn": start_method("spawn"),
    "forkserver": start_method("forkserver"),
    "fork": start_method("fork"),
    "taken": start_method("fork", explicit=False),  # what the platform has is kept, and cannot be changed any more
}


@pytest.mark.parametrize("preset", list(GIVEN), scope="class")
class TestStartMethodPreset:
    """A start with the multiprocessing start method {preset} before the first line, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, preset: str, workers: int) -> Evidence:
        """The experiment: it comes up, every worker serves, and it stops."""
        try:
            return experiment.run(
                load=[steady(rate=40, connections="new"), steady(rate=20), hold(4)],
                given=[GIVEN[preset]],
                faults=[when_every_worker_served(signal("SIGTERM"))],
                workers=workers,
            )
        except LaunchError as error:  # that is what START-5 is about
            return evidence_of_failed_start(experiment, error)

    @requirement("START-5")
    def test_starts_serves_and_stops(self, evidence: Evidence, facts: Facts) -> None:
        """Every declared worker serves under its own pid, and it stops within the grace period."""
        evidence.require_given()
        failure = evidence.launch_failure
        facts(given=evidence.given[0]["because"])
        if failure is not None:
            facts.details(failure)
        assert failure is None, f"it did not come up: {failure.splitlines()[0] if failure else ''}"
        servers = evidence.find("servers")
        if servers is None:
            raise Inconclusive("it never served")
        require_shim_in_servers(evidence.shim, servers, what="the start method was not set in the process that serves")
        facts(serving_processes=len(servers["pids"]), declared_workers=servers["declared"])
        all_workers_serve(servers)
        evidence.require()
        _drain.exits_in_grace(evidence, facts)
        facts.summary(f"{len(servers['pids'])} processes served, and it stopped in order")
        assert not evidence.survivors, f"{len(evidence.survivors)} processes of it live on"
