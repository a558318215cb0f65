"""EXC: exceptions inside the server, raised by the shim where the target's own code runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from drainproof.evidence import RequestSet
from drainproof.load.ledger import RequestRecord
from drainproof.scenario import (
    GRPC_FAST,
    GRPC_SLOW,
    Evidence,
    Experiment,
    Inconclusive,
    Stream,
    Unsupported,
    UntilGoneOrReplaced,
    UntilGoneOrServing,
    UntilStarted,
    at_steady_state,
    exception,
    hold,
    idle,
    own_fail_point,
    requirement,
    signal,
    steady,
    when_every_worker_served,
)
from drainproof.shim.session import MOST_SHOTS

from drainproof_scenarios import _drain, _start
from drainproof_scenarios._facts import Facts, ended, exit_facts, no_debris, rounded

SHOTS = 3
"""Requests that fail in their handler; one might be somebody's probe."""

IN_FLIGHT = 6
"""Slow requests that are held in flight."""


def _load(experiment: Experiment) -> list[Stream]:
    """New and reused connections at a steady rate, and slow requests in flight, of each protocol."""
    half = experiment.target.slow().duration / 2
    load: list[Stream] = [steady(rate=20, connections="new"), steady(rate=20), hold(IN_FLIGHT, stagger=half)]
    if experiment.target.speaks("grpc"):
        load += [steady(rate=10, request=GRPC_FAST, name="grpc"), hold(2, request=GRPC_SLOW, name="grpc-hold")]
    return load


TRAFFIC = ["idle", "busy"]
"""With nothing in flight, and with requests in flight: what a server does to its requests when a part of it fails hides
what it does without any (one release of KServe hangs only where no gRPC call is in flight)."""


def _traffic(experiment: Experiment, traffic: str) -> list[Stream]:
    return _load(experiment) if traffic == "busy" else [idle(2)]


class TestExceptionInHandler:
    """An exception in a request handler, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment: three requests of many raise."""
        return experiment.run(
            load=_load(experiment),
            faults=[at_steady_state(exception("handler", shots=SHOTS, only_requests=True, protocol="http"))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-1")
    def test_it_fails_alone(self, evidence: Evidence, facts: Facts) -> None:
        """The request gets a 5xx, the others complete, and the server goes on serving."""
        evidence.require()
        facts(raised=_places(evidence), **exit_facts(evidence))
        assert evidence.exit is None, f"an exception in a handler ended the server (status {evidence.exit.status})"
        _fails_alone(evidence, facts)


@pytest.mark.parametrize("raised", ["SystemExit", "KeyboardInterrupt", "CancelledError"], scope="class")
class TestExitInHandler:
    """{raised} in a request handler, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, raised: str, workers: int) -> Evidence:
        """The experiment: one request of many raises what is no ordinary exception."""
        raises = "asyncio:CancelledError" if raised == "CancelledError" else raised
        return experiment.run(
            load=_load(experiment),
            faults=[at_steady_state(exception("handler", raises=raises, only_requests=True, protocol="http"))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-2")
    def test_it_fails_alone_or_drains(self, evidence: Evidence, facts: Facts) -> None:
        """The request fails alone with a 5xx, or the server drains and exits non-zero."""
        evidence.require()
        facts(raised=_places(evidence), **exit_facts(evidence))
        if evidence.exit is None:
            _fails_alone(evidence, facts)
            return
        _drain.exits_in_grace(evidence, facts)
        lost = evidence.requests.accepted().not_answered()
        facts(exit_status=evidence.exit.status, accepted=len(evidence.requests.accepted()), lost=len(lost))
        facts.summary("it drained and ended non-zero")
        facts.details("\n".join(lost.lines()))
        assert evidence.exit.status != 0, "it ended with status 0"
        # Whichever request raised may go without an answer; nobody else's may.
        assert len(lost) <= _raisers_among_accepted(evidence), f"it ended and lost {len(lost)} accepted requests"


@pytest.mark.parametrize("traffic", TRAFFIC, scope="class")
class TestMainCoroutine:
    """An exception in the main coroutine of a server that is {traffic}, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, traffic: str, workers: int) -> Evidence:
        """The experiment: thrown in where the main coroutine waits."""
        return experiment.run(
            load=_traffic(experiment, traffic),
            faults=[at_steady_state(exception("main"))],
            workers=workers,
            observe=UntilGoneOrReplaced(),
        )

    @requirement("EXC-3")
    def test_stops_in_order(self, evidence: Evidence, facts: Facts, traffic: str) -> None:
        """Accepted requests are answered, every protocol is stopped, and it ends non-zero within the grace period.

        A worker that fails so may be replaced, if it goes and the server as a whole serves on.
        """
        evidence.require()
        facts(raised=_places(evidence), exit_status=evidence.exit and evidence.exit.status)
        launch = evidence.find("launch")
        main = None if launch is None else launch.get("own_pid", launch["pid"])
        in_main = any(shot["pid"] == main for shot in _fired(evidence))
        if evidence.exit is None and _serves_on(evidence):
            struck = evidence.find("struck")
            there = struck["still_there"] if struck else []
            relapsed = struck is not None and struck.get("relapsed", False)
            facts(worker_that_failed_is_still_there=bool(there))
            facts.summary("the worker whose main coroutine had failed went, and the server served on")
            assert not in_main, "it goes on serving although its main coroutine failed"
            assert not relapsed, "the server comes back and goes again, and serves for moments only"
            grace = evidence.policy.grace_period
            assert not there, (
                f"the worker whose main coroutine failed is still there after {grace:g} s (pid {there[0]})"
            )
        else:
            _drain.exits_in_grace(evidence, facts)
            assert evidence.exit is not None and evidence.exit.status != 0, "it ended with status 0"
        if traffic == "busy":
            _drain.accepted_are_answered(evidence, facts, at_least=1)

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts) -> None:
        """Its output has none of asyncio's signatures of an unclean end."""
        _leaves_no_debris(evidence, facts)


@pytest.mark.parametrize("traffic", TRAFFIC, scope="class")
@pytest.mark.parametrize("protocol", ["rest", "grpc"], scope="class")
class TestProtocolTask:
    """An exception in the task that serves {protocol}, the server is {traffic}, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, protocol: str, traffic: str, workers: int) -> Evidence:
        """The experiment: the one protocol dies, the other one lives."""
        if protocol == "grpc" and not experiment.target.speaks("grpc"):
            raise Unsupported('the manifest declares no gRPC request ([[request]] with protocol = "grpc")')
        return experiment.run(
            load=_traffic(experiment, traffic),
            faults=[at_steady_state(exception(protocol))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-4")
    def test_survives_or_ends(self, evidence: Evidence, facts: Facts) -> None:
        """It is survived completely, or the server ends non-zero: nothing half alive says that it is ready."""
        _survives_or_ends(evidence, facts)

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts) -> None:
        """Its output has none of asyncio's signatures of an unclean end."""
        _leaves_no_debris(evidence, facts)


@pytest.mark.parametrize("place", ["task", "callback"], scope="class")
class TestInTheLoop:
    """An exception in a background {place} of the event loop, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, place: str, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=_load(experiment),
            faults=[at_steady_state(exception(place))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-4")
    def test_survives_or_ends(self, evidence: Evidence, facts: Facts) -> None:
        """It is survived completely, or the server ends non-zero: nothing half alive says that it is ready."""
        _survives_or_ends(evidence, facts)

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts, place: str) -> None:
        """How the server deals with it leaves none of asyncio's signatures of an unclean end."""
        # A task of ours that nobody awaits is reported by asyncio itself, which says nothing about the server.
        _leaves_no_debris(evidence, facts, but=("never_retrieved",) if place == "task" else ())


class TestOwnFailPoint:
    """The exception {fail_point} of the manifest, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, fail_point: str, workers: int) -> Evidence:
        """The experiment: at its own time, or on command at steady state."""
        return experiment.run(
            load=_load(experiment),
            faults=[own_fail_point(experiment.target, fail_point)],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-4")
    def test_survives_or_ends(self, evidence: Evidence, facts: Facts) -> None:
        """Survived completely but for the requests in which it was raised, or the server ends non-zero."""
        begun = min((j.record.due for j in evidence.requests), default=None)
        if evidence.faults and begun is not None and all(s["t"] < begun for s in _fired(evidence)):
            evidence.require()
            raise Inconclusive("it was raised before the load began, so nobody could be hurt by it")
        _survives_or_ends(evidence, facts, may_fail=len(_fired(evidence)))


class TestStopPath:
    """An exception in the stop path, {stop_signal}, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, workers: int) -> Evidence:
        """The experiment: the first call of the stop path raises."""
        return experiment.run(
            load=_load(experiment),
            given=[exception("stop", call=1)],
            faults=[when_every_worker_served(signal(stop_signal))],
            workers=workers,
        )

    @requirement("EXC-5")
    def test_releases_everything(self, evidence: Evidence, facts: Facts) -> None:
        """It still releases everything and exits non-zero within the grace period."""
        evidence.require()
        early = [shot for shot in _fired(evidence) if shot["t"] < evidence.fault["t"]]
        if early:
            raise Inconclusive(
                f"{early[0]['site']} was called before the signal as well, and failed then: name a place in "
                "[fail_points] stop that only the stop path reaches"
            )
        facts(raised=_places(evidence), exit_status=evidence.exit and evidence.exit.status)
        _drain.exits_in_grace(evidence, facts)
        ended(evidence)
        left = evidence.find("leftovers")
        assert left is not None and evidence.exit is not None
        items = [f"{item['kind'].replace('_', ' ')} {item['name']}" for item in left["left"]]
        facts(left=len(items), survivors=len(evidence.survivors))
        assert not evidence.survivors, f"{len(evidence.survivors)} processes of it live on"
        assert not items, f"it left {len(items)} things behind: {'; '.join(items[:3])}"
        assert evidence.exit.status != 0, "its stop path failed, and it ended with status 0"


class TestModelRaises:
    """An exception while the model is loaded, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            given=[exception("load", call=1, shots=MOST_SHOTS)],
            observe=UntilStarted(unless_serving=True),
            workers=workers,
        )

    @requirement("START-2")
    def test_ends_with_the_cause(self, evidence: Evidence, facts: Facts) -> None:
        """It ends non-zero within the start-up deadline, names the cause, and leaves neither processes nor debris."""
        evidence.require()
        facts(raised=_places(evidence))
        _start.ends_without_its_model(evidence, facts, cause="raised by drainproof")


def _fired(evidence: Evidence) -> list[Mapping[str, Any]]:
    """The shots of the exception: each with `t`, `pid`, `where`; also those that came after the fault's patience."""
    proofs = [proof for proof in (*evidence.faults, *evidence.given) if proof["kind"] == "exception"]
    return [shot for proof in proofs for shot in evidence.shim.fired(proof["name"])]


def _places(evidence: Evidence) -> list[str]:
    """The fail points that fired. `where` in the evidence has file and line, of what a coroutine waited for."""
    return list(dict.fromkeys(str(shot["site"]) for shot in _fired(evidence)))


def _raisers_among_accepted(evidence: Evidence) -> int:
    """How many of the requests that were accepted before the command can be those that raised.

    The others that raised came after it: they were on their way when the shot was fired, and failed.
    """
    accepted = set(evidence.requests.accepted())
    moments = [shot["t"] for shot in _fired(evidence)]
    later = evidence.requests.not_answered().where(
        lambda j: (
            j not in accepted and j.record.sent is not None and any(j.record.sent <= t <= j.record.end for t in moments)
        )
    )
    return max(0, len(moments) - len(later))


def _serves_on(evidence: Evidence) -> bool:
    looks = evidence.all("serving_after_fault")
    return bool(looks and looks[-1]["serving"])


def _hurt(evidence: Evidence) -> RequestSet:
    """The requests that did not get their right answer. What crossed a close is nobody's fault."""
    if evidence.requests.before().not_answered().fate("wrong"):
        raise Inconclusive("it answers such requests wrongly without a fault as well")
    return evidence.requests.where(lambda j: j.fate not in ("right", "unfinished", "crossing"))


GRPC_5XX = (2, 13, 14, 15)
"""gRPC's words for a 5xx: UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS. None of them blames the client."""


def _with_5xx(requests: RequestSet) -> RequestSet:
    def failed_at_the_server(record: RequestRecord) -> bool:
        status = record.status or 0
        return record.answered and (status in GRPC_5XX if record.protocol == "grpc" else status >= 500)

    return requests.where(lambda j: failed_at_the_server(j.record))


def _fails_alone(evidence: Evidence, facts: Facts) -> None:
    """As many requests as raised failed, each with a complete 5xx; it serves on."""
    hurt, raised = _hurt(evidence), len(_fired(evidence))
    with_5xx = _with_5xx(hurt)
    others = len(hurt) - len(with_5xx)
    facts(raised_in_requests=raised, answered_5xx=len(with_5xx), other_failures=others, fates=hurt.fates())
    facts.summary(f"{len(with_5xx)} requests raised and got a 5xx, nobody else was hurt")
    facts.details("\n".join(hurt.where(lambda j: j not in set(with_5xx)).lines() + with_5xx.lines()))
    assert len(hurt) <= raised, f"{raised} requests raised, and {len(hurt)} were hurt"
    assert not others, f"{others} of the {raised} requests that raised got no 5xx"
    assert _serves_on(evidence), "afterwards it neither served nor ended"
    if not hurt:
        raise Inconclusive("it raised, but in none of the requests of this load")


def _leaves_no_debris(evidence: Evidence, facts: Facts, *, but: tuple[str, ...] = ()) -> None:
    """EXIT-5, whether it ended or goes on; of no kind in `but`."""
    evidence.require()
    no_debris(evidence, facts, but=but, may_go_on=_serves_on(evidence))


def _survives_or_ends(evidence: Evidence, facts: Facts, *, may_fail: int = 0) -> None:
    """EXC-4: served on as if nothing had happened, or ended non-zero in time. `may_fail` requests may get a 5xx."""
    evidence.require()
    facts(raised=_places(evidence), **exit_facts(evidence))
    if evidence.exit is not None:
        facts(exit_status=evidence.exit.status)
        _drain.exits_in_grace(evidence, facts)
        facts.summary(f"it ended with status {evidence.exit.status} after {rounded(evidence.exit_after)} s")
        assert evidence.exit.status != 0, "it ended with status 0"
        return
    looks = evidence.all("serving_after_fault")
    last = looks[-1] if looks else None
    if last is not None and last["serving"]:
        hurt = _hurt(evidence)
        facts(hurt=len(hurt))
        facts.summary("it survived, and nobody was hurt")
        facts.details("\n".join(hurt.lines()))
        assert len(hurt) == len(_with_5xx(hurt)) <= may_fail, (
            f"it survived, but {len(hurt)} requests got no right answer"
        )
        return
    state = dict(last["readiness"]) if last else None
    facts(serving_afterwards=False, readiness=state)
    facts.details("\n".join(evidence.output.tail(5, until=evidence.observed_until)))
    raise AssertionError("it is half alive: it did not end, and it does not serve as before")
