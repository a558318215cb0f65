"""DRAIN-11, DRAIN-12, EXIT-6: servers that speak gRPC beside HTTP, and streams in both."""

from __future__ import annotations

import pytest
from drainproof.evidence.requests import RACE
from drainproof.probes.history import is_positive
from drainproof.scenario import (
    ENDLESS,
    GRPC_ENDLESS,
    GRPC_FAST,
    GRPC_SLOW,
    GRPC_STREAM,
    STREAM,
    Evidence,
    Experiment,
    Inconclusive,
    Recipient,
    Unsupported,
    at_steady_state,
    hold,
    once,
    requirement,
    signal,
    steady,
)

from drainproof_scenarios import _drain, _grpc
from drainproof_scenarios._facts import Facts, ended, exit_facts, no_debris, rounded

IN_FLIGHT = 6
"""Requests of each protocol that are held in flight."""

ENOUGH = IN_FLIGHT // 2
"""How many of them must be in flight and read by the server when the signal comes: some may just have been answered."""


class TestBothProtocols:
    """{stop_signal} to {recipient} under HTTP and gRPC load, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment: slow requests of both protocols in flight, new ones of both all the time, then the signal."""
        stagger = experiment.target.slow().duration / 2
        return experiment.run(
            load=[
                steady(rate=10, connections="new"),
                hold(IN_FLIGHT, stagger=stagger),
                steady(rate=10, request=GRPC_FAST, connections="new", name="grpc"),
                steady(rate=10, request=GRPC_FAST, connections="shared", name="grpc"),
                hold(IN_FLIGHT, request=GRPC_SLOW, connections="shared", stagger=stagger, name="grpc-hold"),
            ],
            faults=[at_steady_state(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-12")
    def test_calls_in_flight_complete(self, evidence: Evidence, facts: Facts) -> None:
        """Every gRPC call and every HTTP request that was accepted before the signal is answered rightly."""
        _grpc.calls_in_flight_complete(evidence, facts, at_least=ENOUGH)

    @requirement("DRAIN-12")
    def test_later_calls_are_turned_away(self, evidence: Evidence, facts: Facts) -> None:
        """Every gRPC call after the signal is served, answered UNAVAILABLE or refused."""
        _grpc.later_calls_are_turned_away(evidence, facts)

    @requirement("DRAIN-10")
    def test_is_not_left_half_alive(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period."""
        evidence.require()
        _drain.exits_in_grace(evidence, facts)

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts) -> None:
        """Its output has none of asyncio's signatures of an unclean end."""
        no_debris(evidence, facts)

    @requirement("EXIT-6")
    def test_order_of_the_shutdown(self, evidence: Evidence, facts: Facts) -> None:
        """Not ready, then both listeners are closed, then the last requests are answered, then it ends."""
        evidence.require(accepted_at_signal=1)
        ended(evidence)
        t = evidence.fault["t"]
        late = []
        seen = 0
        for protocol in ("http", "grpc"):
            name = evidence.target.slow(protocol).port
            closing = evidence.listener_closed_on(name)
            answered = evidence.requests.protocol(protocol).accepted().last_answer()
            last = evidence.requests.protocol(protocol).fate("right").last_answer()
            if closing is None or answered is None or last is None:
                continue
            facts(**{
                f"{protocol}_listener_closed_after_s": [rounded(closing.earliest - t), rounded(closing.latest - t)],
                f"{protocol}_last_answer_after_s": rounded(last - t),
            })  # fmt: skip
            ready = [
                state
                for state in evidence.history.states(probe="readiness", key=evidence.target.readiness)
                if is_positive(state.value) and state.last.earliest > closing.latest + RACE
            ]
            assert not ready, f"it was ready after it had closed its {protocol} listener"
            if closing.earliest < last <= closing.latest or answered - t < SOON:
                continue  # both in the same moment, or too soon to see what was first
            seen += 1
            if closing.earliest >= last:
                late.append(f"{protocol} ({closing.earliest - t:.2f} s, its last answer after {last - t:.2f} s)")
        facts(**exit_facts(evidence))
        assert not late, f"listeners were still open when the last answer had come: {', '.join(late)}"
        if seen < 2:
            raise Inconclusive("the listeners and the last answers of both protocols were not seen one after the other")
        facts.summary("the listeners of both protocols were closed before their last answers")


SOON = 0.2
"""Seconds within which the order of a shutdown cannot be seen."""


class TestEndlessInBothProtocols:
    """{stop_signal}, an HTTP request and a gRPC call that never end."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=[once(2, request=ENDLESS, name="http"), once(2, request=GRPC_ENDLESS, name="grpc")],
            faults=[at_steady_state(signal(stop_signal))],
        )

    @requirement("DRAIN-12")
    def test_both_get_the_same_time(self, evidence: Evidence, facts: Facts) -> None:
        """What drains in one protocol is not given up earlier than what drains in the other."""
        evidence.require()
        t = evidence.fault["t"]
        held = {p: evidence.slow_clients.protocol(p).accepted() for p in ("http", "grpc")}
        if not all(held.values()):
            raise Inconclusive("the server had not read a request of each protocol when the signal came")
        until = {
            protocol: min(evidence.observed_until, max(j.record.end for j in requests)) - t
            for protocol, requests in held.items()
        }
        settle = evidence.policy.settle_time
        facts(
            http_given_up_after_s=rounded(until["http"]),
            grpc_given_up_after_s=rounded(until["grpc"]),
            allowed_difference_s=settle,
            **exit_facts(evidence),
        )
        first, other = sorted(until, key=lambda protocol: until[protocol])
        facts.summary(
            f"HTTP requests were given up after {until['http']:.1f} s, gRPC calls after {until['grpc']:.1f} s"
        )
        assert until[other] - until[first] <= settle, (
            f"{first} requests were given up {until[first]:.1f} s after the signal, {other} requests only after "
            f"{until[other]:.1f} s"
        )


@pytest.mark.parametrize("protocol", ["http", "grpc"], scope="class")
class TestStreams:
    """{stop_signal} to {recipient}, {workers}, with {protocol} streams in progress."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(
        cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int, protocol: str
    ) -> Evidence:
        """The experiment: streams whose beginnings are spread over the time of one."""
        request = STREAM if protocol == "http" else GRPC_STREAM
        declared = experiment.target.streaming("http" if protocol == "http" else "grpc")
        if declared is None:
            raise Unsupported(f"the manifest declares no {protocol} request with stream = true that ends by itself")
        return experiment.run(
            load=[hold(IN_FLIGHT, request=request, stagger=declared.duration, name="streams")],
            faults=[at_steady_state(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-11")
    def test_streams_end_as_declared(self, evidence: Evidence, facts: Facts) -> None:
        """Every stream in progress is complete or, where the policy says so, cut by its protocol's own end."""
        _grpc.ends_as_declared(evidence, facts)

    @requirement("DRAIN-10")
    def test_is_not_left_half_alive(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period."""
        evidence.require()
        _drain.exits_in_grace(evidence, facts)
