"""CONT-2 and CONT-3: the end of a pod, for the clients behind its service and for whoever gave it a grace period."""

from __future__ import annotations

import pytest
from drainproof.evidence.pods import PodEnd
from drainproof.scenario import (
    GRPC_FAST,
    Evidence,
    Experiment,
    Inconclusive,
    Stream,
    at_steady_state,
    hold,
    launched,
    pod_termination,
    requirement,
    steady,
)

from drainproof_scenarios._facts import Facts, rounded

ENDPOINT_LAGS = (0.0, 1.0, 2.0)
"""Seconds until no new connection is sent to the pod any more: at once, as usual, and in a busy cluster."""

IN_FLIGHT = 4
"""Slow requests that are held in flight."""


def _users(experiment: Experiment, *, slow: bool) -> list[Stream]:
    """Clients that hold their connections, clients that resolve anew for each request, and slow requests."""
    half = experiment.target.slow().duration / 2
    streams: list[Stream] = [steady(rate=20, connections="reuse"), steady(rate=20, connections="new")]
    if slow:
        streams.append(hold(IN_FLIGHT, stagger=half))
    if experiment.target.speaks("grpc"):
        streams += [
            steady(rate=10, request=GRPC_FAST, connections="shared", name="grpc"),
            steady(rate=10, request=GRPC_FAST, connections="new", name="grpc"),
        ]
    return streams


def _no_user_failed(evidence: Evidence, facts: Facts) -> None:
    """CONT-2: no request that was sent to the pod failed, as its user sees it."""
    end = PodEnd.of(evidence)
    users, failed = end.users(evidence), end.failed(evidence)
    elsewhere = evidence.requests.fate("elsewhere")
    facts(
        failed_requests=len(failed),
        requests_of_users=len(users),
        failed_otherwise=len(end.failed_otherwise(evidence)),
        fates=users.fates(),
        routed_elsewhere=len(elsewhere),
        endpoint_removed_after_s=rounded(None if end.unrouted is None else end.unrouted - end.deleted),
        stop_signal_after_s=rounded(None if end.stopped is None else end.stopped - end.deleted),
        pre_stop=end.hook_because,
    )
    facts.summary(
        f"none of {len(users)} requests of users failed; {len(elsewhere)} went to other endpoints, as they should"
    )
    facts.details("\n".join(failed.lines()))
    if not users:
        raise Inconclusive("no request was under way when the pod was deleted, and none came later")
    if failed and len(failed.fate("wrong")) == len(failed) and evidence.requests.before().fate("wrong"):
        raise Inconclusive("it answers such requests wrongly without a termination as well")
    assert not failed, f"{len(failed)} of {len(users)} requests of users failed: {_how(evidence, end)}"


def _how(evidence: Evidence, end: PodEnd) -> str:
    """What became of them, and what most of it comes from."""
    fates = ", ".join(f"{count} {fate}" for fate, count in end.failed(evidence).fates().items())
    if end.hook == "failed":
        return f"{fates}; its preStop hook failed ({end.hook_because})"
    if end.killed is not None:
        return f"{fates}; SIGKILL came {end.killed - end.deleted:.1f} s after the deletion"
    if end.stopped is not None and end.unrouted is not None and end.stopped < end.unrouted:
        early = end.unrouted - end.stopped
        return f"{fates}; {end.signal} came {early:.1f} s before the last clients stopped being sent to it"
    return fates


def _drain_facts(evidence: Evidence, facts: Facts, end: PodEnd) -> None:
    sources = evidence.target.pod.sources if evidence.target.pod is not None else {}
    facts(
        pre_stop_s=rounded(end.hook_seconds),
        drain_s=rounded(end.drain),
        grace_period_s=end.grace_period,
        grace_period_from=sources.get("grace_period"),
        killed_after_s=rounded(None if end.killed is None else end.killed - end.deleted),
        endpoint_removed_after_s=rounded(None if end.unrouted is None else end.unrouted - end.deleted),
        served_after_stop_signal_s=rounded(end.served_after_stop(evidence)),
        lost_after_stop_signal=len(end.lost_after_stop(evidence)),
        pre_stop=end.hook_because,
    )
    if (policy := evidence.policy.grace_period) != end.grace_period:
        facts(policy_grace_period_s=policy, policy_grace_period_from=sources.get("policy.grace_period"))


def _fits_in_grace(evidence: Evidence, facts: Facts) -> None:
    """CONT-3: hook and drain together take no longer than the grace period."""
    end = PodEnd.of(evidence)
    _drain_facts(evidence, facts, end)
    if end.stopped is None and end.exited is not None:
        facts.summary(f"it ended of its preStop hook, {end.exited - end.deleted:.1f} s after the deletion")
        return
    hook = {"none": "there is no preStop hook", "hung": f"its preStop hook hung for {end.hook_seconds:.1f} s"}.get(
        end.hook, f"preStop took {end.hook_seconds:.1f} s"
    )
    assert end.killed is None, (
        f"SIGKILL had to end it {(end.killed or 0.0) - (end.stopped or 0.0):.1f} s after {end.signal}: "
        f"{hook}, and the grace period is {end.grace_period:g} s"
    )
    spent, drain = end.spent, end.drain
    if spent is None or drain is None:
        raise Inconclusive("its end was not seen")
    facts.summary(f"preStop and drain took {spent:.1f} s of a grace period of {end.grace_period:g} s")
    assert spent <= end.grace_period, (
        f"{hook}, its drain took {drain:.1f} s, and the grace period is {end.grace_period:g} s"
    )


@launched("container")
@pytest.mark.parametrize("endpoint_lag", ENDPOINT_LAGS, scope="class")
class TestPodTermination:
    """The pod is deleted, its endpoint leaves the service after {endpoint_lag} s."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, endpoint_lag: float) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_users(experiment, slow=True),
            faults=[at_steady_state(pod_termination(endpoint_lag=endpoint_lag))],
        )

    @requirement("CONT-2")
    def test_no_request_of_a_user_fails(self, evidence: Evidence, facts: Facts) -> None:
        """Whoever was sent to this pod gets the right answer."""
        _no_user_failed(evidence, facts)

    @requirement("CONT-3")
    def test_hook_and_drain_fit_in_the_grace_period(self, evidence: Evidence, facts: Facts) -> None:
        """It ends by itself within the grace period, of which the preStop hook is a part."""
        _fits_in_grace(evidence, facts)


@launched("container")
class TestHangingPreStop:
    """The pod is deleted, and its preStop hook hangs."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment: only fast requests, since the hook leaves 2 s for them."""
        return experiment.run(
            load=_users(experiment, slow=False),
            faults=[at_steady_state(pod_termination(endpoint_lag=1.0, hook="hangs"))],
        )

    @requirement("CONT-2")
    def test_no_request_of_a_user_fails(self, evidence: Evidence, facts: Facts) -> None:
        """The stop signal comes at the end of the grace period, and SIGKILL 2 s later: nobody loses a request."""
        _no_user_failed(evidence, facts)


@launched("container")
class TestFailingPreStop:
    """The pod is deleted, and its preStop hook fails."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment: the endpoint leaves at once, because nothing is left that could wait for it."""
        return experiment.run(
            load=_users(experiment, slow=True),
            faults=[at_steady_state(pod_termination(endpoint_lag=0.0, hook="fails"))],
        )

    @requirement("CONT-2")
    def test_no_request_of_a_user_fails(self, evidence: Evidence, facts: Facts) -> None:
        """The stop signal comes at once: who had a connection loses nothing."""
        _no_user_failed(evidence, facts)

    @requirement("CONT-3")
    def test_the_drain_fits_in_the_grace_period(self, evidence: Evidence, facts: Facts) -> None:
        """It ends by itself within the grace period."""
        _fits_in_grace(evidence, facts)
