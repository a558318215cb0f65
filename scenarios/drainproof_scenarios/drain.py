"""DRAIN and EXIT: going down under load, and what is left."""

from __future__ import annotations

import math

import pytest
from drainproof.probes.history import is_positive
from drainproof.scenario import (
    ENDLESS,
    Evidence,
    Experiment,
    Inconclusive,
    Recipient,
    Unsupported,
    UntilGoneOrServing,
    UntilGoneWithoutIdle,
    after,
    at_steady_state,
    closed,
    fatal_request,
    hold,
    idle,
    launched,
    once,
    requirement,
    signal,
    silent,
    slow_reader,
    slow_writer,
    steady,
    when_every_worker_served,
)

from drainproof_scenarios import _drain, _systemd
from drainproof_scenarios._facts import Facts, ended, exit_facts, no_debris, rounded

WORTH_ASKING = 0.2
"""Seconds that a port must listen after the signal for its liveness to be worth asking."""

OUTLIVE = 2.0
"""Seconds that other processes may outlive the main process (EXIT-3)."""

IN_FLIGHT = 8
"""Requests that are held in flight."""

ENOUGH = IN_FLIGHT // 2
"""How many of them must be in flight and read by the server when the signal comes: some may just have been answered."""


def _half(run: Experiment | Evidence) -> float:
    """Half the duration of the slow request: over it the held requests are spread."""
    return run.target.slow().duration / 2


class TestStopUnderLoad:
    """{stop_signal} to {recipient} under load, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment: new and reused connections at a steady rate, slow requests in flight, then the signal."""
        return experiment.run(
            load=[
                steady(rate=20, connections="new"),
                steady(rate=20, connections="reuse"),
                hold(IN_FLIGHT, stagger=_half(experiment)),
            ],
            faults=[when_every_worker_served(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-1")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every request that was accepted before the signal is answered completely and rightly."""
        _drain.accepted_are_answered(evidence, facts, at_least=ENOUGH)

    @requirement("DRAIN-2")
    def test_later_requests_are_treated_well(self, evidence: Evidence, facts: Facts) -> None:
        """Every request that arrives after the signal is served, answered 503, or refused at connect."""
        _drain.later_ones_are_treated_well(evidence, facts)

    @requirement("DRAIN-3")
    def test_keep_alive_is_taken_back(self, evidence: Evidence, facts: Facts) -> None:
        """The last answer on each reused connection says that the server is going to close it."""
        evidence.require()
        ended(evidence)
        last = list(_drain.last_answers_of_connections(evidence, after=evidence.fault["t"]))
        announced = [j for j in last if j.record.close_announced]
        began = _drain.drain_began(evidence)
        late = [j for j in last if _drain.composed_after(j, began)]
        silently = [j for j in late if not j.record.close_announced]
        crossing = len(evidence.requests.fate("crossing"))
        facts(
            connections_answered_last_while_draining=len(late),
            closed_without_notice=len(silently),
            closed_with_notice=len(announced),
            lost_crossing_a_close=crossing,
        )
        facts.summary(f"{len(announced)} connections were closed with notice; {crossing} requests crossed a close")
        facts.details("\n".join(str(j) for j in silently[:5]))
        if not late and not announced:
            raise Inconclusive("no answer came on a reused connection after the drain had begun")
        assert not silently, (
            f"on {len(silently)} of {len(late)} connections the last answer promised keep-alive, "
            "and the server closed the connection"
        )

    @requirement("DRAIN-5")
    def test_readiness_turns_negative(self, evidence: Evidence, facts: Facts) -> None:
        """No readiness probe that begins more than a second after the signal is answered positively."""
        evidence.require()
        t = evidence.fault["t"]
        path = evidence.target.readiness
        change = evidence.history.first_negative(path=path, after=t)
        late = [
            state
            for state in evidence.history.states(probe="readiness", key=path)
            if is_positive(state.value) and state.last.earliest > t + 1.0
        ]
        facts(
            negative_after_s=rounded(change.latest - t) if change else None,
            still_positive_after_s=rounded(late[-1].last.earliest - t) if late else None,
            negative_answer=dict(change.new) if change else None,
        )
        assert not late, "it still said that it is ready more than 1 s after the signal"
        if change is None:
            raise Inconclusive("no readiness probe was answered after the signal")

    @requirement("DRAIN-6")
    def test_liveness_stays_positive(self, evidence: Evidence, facts: Facts) -> None:
        """While the port listens after the signal, liveness is positive."""
        evidence.require()
        path = evidence.target.liveness
        if path is None:
            raise Unsupported("the manifest declares no liveness path ([health] liveness)")
        closed_at = evidence.listener_closed
        t = evidence.fault["t"]
        until = closed_at.earliest if closed_at else evidence.observed_until
        at_most = closed_at.latest if closed_at else evidence.observed_until
        seen = [
            state
            for state in evidence.history.states(probe="liveness", key=path)
            if state.last.earliest > t and state.first.latest < until
        ]
        negative = [state for state in seen if not is_positive(state.value)]
        before = evidence.history.at(probe="liveness", key=path, t=t)
        if before is None or not is_positive(before.value):
            raise Inconclusive(f"its liveness path {path} was not positive before the signal either")
        facts(
            listened_after_signal_s=rounded(until - t),
            negative_after_s=rounded(negative[0].first.earliest - t) if negative else None,
            negative_answer=dict(negative[0].value) if negative else None,
        )
        if not seen and until - t >= 2 * WORTH_ASKING:
            raise Inconclusive(f"it listened for {until - t:.2f} s after the signal, and no probe was answered in it")
        if not seen or at_most - t < WORTH_ASKING:
            raise Unsupported(
                f"it stopped listening {max(until - t, 0.0):.2f} s after the signal, before its liveness could be asked"
            )
        facts.summary("its liveness was positive as long as it listened")
        assert not negative, (
            f"its liveness turned negative ({dict(negative[0].value)}) while it drained and still listened"
        )

    @requirement("DRAIN-8")
    def test_exit_follows_the_last_answer(self, evidence: Evidence, facts: Facts) -> None:
        """The exit comes within the settle time after the last answer."""
        evidence.require(in_flight_at_signal=1)
        settle = evidence.policy.settle_time
        last = max(evidence.requests.fate("right").last_answer() or 0.0, evidence.fault["t"])
        idle_for = evidence.exit.t - last if evidence.exit else evidence.observed_until - last
        facts(
            exit_after_last_answer_s=rounded(idle_for) if evidence.exit else None,
            last_answer_after_s=rounded(last - evidence.fault["t"]),
            settle_time_s=settle,
            **exit_facts(evidence),
        )
        facts.summary(f"it ended {idle_for:.2f} s after the last answer; {settle:g} s are allowed")
        if evidence.exit is None and idle_for <= settle:
            raise Inconclusive("it was still answering when the observation ended, and never ended (see DRAIN-10)")
        assert evidence.exit is not None, f"its last answer was {idle_for:.1f} s ago, and it was still alive"
        assert idle_for <= settle, f"it ended {idle_for:.1f} s after the last answer; {settle:g} s are allowed"

    @requirement("DRAIN-10")
    def test_is_not_left_half_alive(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period."""
        evidence.require()
        _drain.exits_in_grace(evidence, facts)

    @requirement("EXIT-1")
    def test_exit_status(self, evidence: Evidence, facts: Facts, stop_signal: str) -> None:
        """The exit status is one that the policy declares."""
        evidence.require()
        ended(evidence)
        assert evidence.exit is not None
        allowed = evidence.policy.exit_codes[stop_signal]
        facts(exit_status=evidence.exit.status, allowed=list(allowed), killed_by_signal=evidence.exit.signal)
        facts.summary(f"exit status {evidence.exit.status}")
        facts.details("\n".join(evidence.output.tail(5, until=evidence.observed_until)))
        assert evidence.exit.status in allowed, (
            f"exit status {evidence.exit.status}; after {stop_signal} the policy allows {', '.join(map(str, allowed))}"
        )
        _systemd.ends_in_order(evidence, facts)

    @launched("process", "systemd")  # in a container the kernel ends and removes everything together with PID 1
    @requirement("EXIT-3")
    def test_no_process_outlives_it(self, evidence: Evidence, facts: Facts) -> None:
        """No process of the target outlives its main process by more than 2 s."""
        ended(evidence)
        assert evidence.exit is not None
        left = evidence.survivors
        facts(
            survivors=len(left),
            last_process_gone_after_exit_s=rounded(evidence.gone - evidence.exit.t) if evidence.gone else None,
        )
        facts.details("\n".join(f"pid {p['pid']}: {' '.join(p['cmdline'])}" for p in left[:5]))
        assert evidence.gone is not None, f"{len(left)} processes of it were alive 2 s after its main process had ended"
        outlived = evidence.gone - evidence.exit.t
        assert outlived <= OUTLIVE, f"its last process ended {outlived:.1f} s after its main process"

    @launched("process", "systemd")
    @requirement("EXIT-4")
    def test_nothing_else_is_left(self, evidence: Evidence, facts: Facts) -> None:
        """No port, shared memory, semaphore, Unix socket or temporary file is left."""
        ended(evidence)
        if evidence.gone is None:
            raise Inconclusive("processes of it had to be killed, so what is left is not its own doing")
        left = evidence.find("leftovers")
        assert left is not None
        items = [f"{item['kind'].replace('_', ' ')} {item['name']}" for item in left["left"]]
        facts(
            left=len(items),
            kinds=sorted({item["kind"] for item in left["left"]}),
            unattributed=len(left["unattributed"]),
        )
        facts.details("\n".join(items[:10]))
        assert not items, f"it left {len(items)} things behind: {'; '.join(items[:3])}"

    @requirement("EXIT-5")
    def test_no_asyncio_debris(self, evidence: Evidence, facts: Facts) -> None:
        """Its output has none of asyncio's signatures of an unclean end."""
        no_debris(evidence, facts)

    @requirement("EXIT-6")
    def test_order_of_the_shutdown(self, evidence: Evidence, facts: Facts) -> None:
        """Not ready, then the listener is closed, then the last request in flight is answered, then it ends."""
        evidence.require(accepted_at_signal=1)
        ended(evidence)
        assert evidence.exit is not None
        t = evidence.fault["t"]
        closing = evidence.listener_closed
        waited_for = evidence.requests.accepted().last_answer()
        answered = evidence.requests.fate("right").last_answer()
        if waited_for is None or answered is None:
            raise Inconclusive("no request that was in flight was answered, so the order cannot be seen")
        if closing is None:
            raise Inconclusive("its port was still open when the observation ended, so the order cannot be seen")
        path = evidence.target.readiness
        ready_late = [
            state
            for state in evidence.history.states(probe="readiness", key=path)
            if is_positive(state.value) and state.last.earliest > closing.latest
        ]
        facts(
            listener_closed_after_s=[rounded(closing.earliest - t), rounded(closing.latest - t)],
            last_in_flight_answered_after_s=rounded(waited_for - t),
            last_answer_after_s=rounded(answered - t),
            **exit_facts(evidence),
        )
        assert not ready_late, "it was ready after it had closed its listener"
        if closing.earliest >= answered and waited_for - t < _half(evidence):
            raise Inconclusive("every request was answered too soon after the signal to see what was closed first")
        if closing.earliest < answered <= closing.latest:
            raise Inconclusive("its listener was closed and its last answer came in the same moment")
        facts.summary("its listener was closed before its last answer")
        assert closing.earliest < answered, (
            f"its listener was still open {closing.earliest - t:.2f} s after the signal, "
            f"although its last answer had come after {answered - t:.2f} s"
        )


class TestIdleConnections:
    """{stop_signal} to {recipient}, {workers}, with idle connections."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment: some requests in flight, keep-alive connections idle, connections that never sent a byte."""
        return experiment.run(
            load=[once(4), idle(4), silent(4)],
            faults=[at_steady_state(signal(stop_signal, to=recipient))],
            workers=workers,
            observe=UntilGoneWithoutIdle(),
        )

    @requirement("DRAIN-4")
    def test_idle_connections_do_not_delay_the_exit(self, evidence: Evidence, facts: Facts) -> None:
        """It does not wait for connections that are idle, or that never sent a byte."""
        evidence.require(idle_at_signal=6)
        released, answered = evidence.moment("idle_released"), evidence.moment("answered")
        settle = evidence.policy.settle_time
        still_open = sum(c.ended_by == "engine" for c in evidence.connections)
        if evidence.exit is None:
            raise Inconclusive("it never ended, also not when the idle connections were closed")
        waited = released is not None and still_open > 0 and evidence.exit.t - released <= settle
        facts(
            **exit_facts(evidence),
            waited_for_idle_connections=waited,
            exit_after_last_answer_s=rounded(evidence.exit.t - answered) if evidence.exit and answered else None,
            idle_connections=len(evidence.connections),
            still_open_after_settle_time=still_open if released else 0,
        )
        if released is not None and still_open and not waited:
            raise Inconclusive("it ended late, with idle connections open, but not when they were closed")
        facts.summary("it did not wait for idle connections")
        assert not waited, (
            f"it was still alive {settle:g} s after the last answer, and ended when the idle connections were closed"
        )

    @requirement("DRAIN-1")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every ordinary request that was accepted before the signal is answered completely and rightly."""
        _drain.accepted_are_answered(evidence, facts, at_least=1, streams=("once",))


class TestEndlessRequest:
    """{stop_signal} to {recipient}, {workers}, with an endless request."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=[once(2, request=ENDLESS, name="endless"), once(2)],
            faults=[at_steady_state(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-7")
    def test_the_drain_is_bounded(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period although a request never ends."""
        evidence.require()
        in_flight = len(evidence.slow_clients.in_flight())
        facts(endless_requests_in_flight=in_flight)
        if not in_flight:
            raise Inconclusive("no endless request was in flight when the signal came")
        _drain.exits_in_grace(evidence, facts)

    @requirement("DRAIN-1")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every ordinary request that was accepted before the signal is answered completely and rightly."""
        _drain.accepted_are_answered(evidence, facts, at_least=1, streams=("once",))


class TestSecondSignal:
    """{stop_signal} twice to {recipient}, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment."""
        if experiment.target.slow().duration < 2 * SECOND_AFTER:
            raise Unsupported(f"needs a request with a duration of at least {2 * SECOND_AFTER:g} s in the manifest")
        again = signal(stop_signal, to=recipient)
        return experiment.run(
            load=[hold(IN_FLIGHT, stagger=_half(experiment))],
            faults=[at_steady_state(again), after(SECOND_AFTER, again)],
            workers=workers,
        )

    @requirement("DRAIN-9")
    def test_second_signal(self, evidence: Evidence, facts: Facts, stop_signal: str) -> None:
        """It costs no accepted request, or it forces the exit, as the policy declares."""
        evidence.require()
        second = evidence.faults[1]["t"]
        open_then = evidence.requests.accepted().where(lambda j: j.record.end > second)
        promise = evidence.policy.second_signal[stop_signal]
        facts(promise=promise, still_in_flight_at_second_signal=len(open_then), **exit_facts(evidence))
        if not open_then:
            raise Inconclusive("no accepted request was still in flight when the second signal came")
        if promise == "ignored":
            lost = open_then.not_answered()
            facts(lost=len(lost))
            facts.details("\n".join(lost.lines()))
            assert not lost, (
                f"{len(lost)} of {len(open_then)} accepted requests that were in flight at the second {stop_signal} "
                "got no right answer"
            )
            return
        kept = open_then.fate("right").where(lambda j: j.record.end > second + AT_ONCE)
        facts(answered_after_second_signal=len(kept))
        assert not kept, (
            f"the policy says that a second {stop_signal} forces the exit, but {len(kept)} requests were answered later"
        )
        if not open_then.not_answered():
            raise Inconclusive("all requests had been answered so soon that a forced exit cannot be told from a drain")
        ended_after = evidence.exit.t - second if evidence.exit else None
        settle = evidence.policy.settle_time
        facts(exit_after_second_signal_s=rounded(ended_after), exit_status=evidence.exit and evidence.exit.status)
        assert ended_after is not None and ended_after <= settle, (
            f"the policy says that a second {stop_signal} forces the exit, but it was not gone {settle:g} s later"
        )
        assert evidence.exit is not None and evidence.exit.status != 0, "it was forced to exit, and reported status 0"


AT_ONCE = 0.25
"""Seconds after which an answer shows that the exit was not forced."""

SECOND_AFTER = 0.15
"""Seconds between the two signals: long enough for the first to be taken, shorter than the slow request."""


@pytest.mark.parametrize("other_signal", ["SIGQUIT", "SIGHUP"], scope="class")
class TestOtherSignals:
    """{other_signal} to {recipient} under load, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, other_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment."""
        if other_signal in experiment.target.policy.stop_signals:
            raise Unsupported(f"{other_signal} is a declared stop signal: see TestStopUnderLoad")
        return experiment.run(
            load=[steady(rate=20), hold(4)],
            faults=[at_steady_state(signal(other_signal, to=recipient))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("DRAIN-10")
    def test_is_not_left_half_alive(self, evidence: Evidence, facts: Facts) -> None:
        """It goes on serving rightly, or is gone within the grace period."""
        evidence.require()
        looks = evidence.all("serving_after_fault")
        serving = bool(looks and looks[-1]["serving"])
        facts(serving_afterwards=serving, **exit_facts(evidence))
        if serving:
            lost = evidence.requests.accepted().where(lambda j: j.fate not in ("right", "unfinished"))
            failed = evidence.requests.arrived_after().where(lambda j: j.fate not in ("right", "unfinished"))
            facts(accepted_and_lost=len(lost), failed_later=len(failed))
            facts.details("\n".join(lost.lines() + failed.lines()))
            facts.summary("it goes on serving")
            assert not lost and not failed, (
                f"it goes on serving, but {len(lost)} accepted and {len(failed)} later requests got no right answer"
            )
            return
        if looks:
            facts(readiness=dict(looks[-1]["readiness"]), predict=looks[-1]["predict"]["wrong"])
        _drain.exits_in_grace(evidence, facts)


class TestSlowClients:
    """{stop_signal} to {recipient}, {workers}, with slow clients."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment: bodies that trickle in, and answers of every kind that are never read."""
        finite = [r for r in experiment.target.requests if math.isfinite(r.duration) and r.protocol == "http"]
        return experiment.run(
            load=[slow_writer(3), *(slow_reader(2, request=request.name) for request in finite), once(2)],
            faults=[at_steady_state(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-13")
    def test_slow_clients_do_not_extend_the_exit(self, evidence: Evidence, facts: Facts) -> None:
        """It is gone within the grace period although a body never becomes complete and an answer is never read."""
        evidence.require()
        in_flight = len(evidence.slow_clients.stream("slow-writer").in_flight())
        facts(slow_writers_in_flight=in_flight)
        if not in_flight:
            raise Inconclusive("no slow client was in flight when the signal came")
        _drain.exits_in_grace(evidence, facts)

    @requirement("DRAIN-1")
    def test_accepted_requests_get_their_answer(self, evidence: Evidence, facts: Facts) -> None:
        """Every ordinary request that was accepted before the signal is answered completely and rightly."""
        _drain.accepted_are_answered(evidence, facts, at_least=1, streams=("once",))


class TestOverload:
    """{stop_signal} to {recipient} under overload, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, stop_signal: str, recipient: Recipient, workers: int) -> Evidence:
        """The experiment: a closed loop without think time uses up the server, slow requests pile up beside it."""
        return experiment.run(
            load=[closed(users=CROWD), hold(CROWD, stagger=_half(experiment)), steady(rate=20, connections="new")],
            faults=[when_every_worker_served(signal(stop_signal, to=recipient))],
            workers=workers,
        )

    @requirement("DRAIN-14")
    def test_the_drain_holds_under_overload(self, evidence: Evidence, facts: Facts) -> None:
        """DRAIN-1 and DRAIN-2 hold although there is more work than it can do."""
        evidence.require(in_flight_at_signal=CROWD)
        _drain.later_ones_are_treated_well(evidence, facts)
        _drain.accepted_are_answered(evidence, facts, at_least=CROWD // 4)


CROWD = 32
"""Users of the closed loop, and slow requests in flight beside them."""


class TestFatalError:
    """A fatal internal error, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(load=[steady(rate=20)], faults=[at_steady_state(fatal_request())], workers=workers)

    @requirement("EXIT-2")
    def test_exits_non_zero(self, evidence: Evidence, facts: Facts) -> None:
        """It ends with a status other than 0 within the grace period."""
        evidence.require()
        facts(exit_status=evidence.exit and evidence.exit.status)
        _drain.exits_in_grace(evidence, facts)
        _systemd.is_restarted(evidence, facts)
        assert evidence.exit is not None and evidence.exit.status != 0, (
            "it died of an internal error with exit status 0"
        )
