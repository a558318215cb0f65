"""Observers: how long an experiment looks after its last fault, and what it does meanwhile.

An observer returns as soon as everything that its checks need has happened, and at the latest when the target has had
its grace period and some time on top, so that "late" can be told from "never". It records what it saw in the timeline.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from drainproof.errors import HarnessError
from drainproof.faults.bench import Bench
from drainproof.load.attempt import Attempt
from drainproof.load.plan import Once
from drainproof.target.instance import ExitStatus
from drainproof.target.readiness import look, owners_of_listener, predict

OUTLIVE = 2.0
"""Seconds that other processes of the target may outlive its main process (EXIT-3)."""

LOOK_EVERY = 0.25
"""Seconds between two looks at whether a target serves that should not."""

MARGIN = 0.5
"""Seconds by which a limit is passed before it is said that something did not happen."""


class Observer(Protocol):
    """What an experiment does between its last fault and its end."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on."""

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""


def record_exit(bench: Bench, status: ExitStatus, *, since: float) -> None:
    """Records the exit of the main process, and when the last other process was gone or which ones stayed.

    Orphans may still drain, so they have until the end of the grace period that began at the moment `since`.
    """
    bench.record("exit", t=status.time, code=status.code, signal=status.signal)
    until = max(status.time + OUTLIVE, since + bench.target.policy.grace_period) + MARGIN
    gone = bench.running.wait_gone(until=until)
    if gone is not None:
        bench.record("gone", t=gone)
    else:
        bench.record("survivors", processes=_processes(bench))


def _processes(bench: Bench) -> list[dict[str, Any]]:
    found = []
    for process in bench.running.processes():
        try:
            found.append({"pid": process.pid, "cmdline": process.cmdline()})
        except psutil.Error:  # it ended while we looked
            continue
    return found


def _serves(bench: Bench) -> bool:
    """Whether its own listener says that it is ready, and a real request is answered rightly."""
    if not owners_of_listener(bench.running, bench.port):
        return False
    return look(target=bench.target, instance=bench.running).positive and _predict(bench, "start-up").right


def record_serving(bench: Bench) -> bool:
    """Whether it is ready and answers a real request of each protocol rightly; recorded as `serving_after_fault`."""
    sample = look(target=bench.target, instance=bench.running)
    outcome = _predict(bench, "still-serving")
    serving = sample.positive and outcome.right
    bench.record("serving_after_fault", serving=serving, readiness=sample.value(), predict=outcome.to_json())
    return serving


def _predict(bench: Bench, token: str) -> Attempt:
    return predict(target=bench.target, instance=bench.running, token=token)


def _limit(bench: Bench, since: float) -> float:
    policy = bench.target.policy
    return since + policy.grace_period + policy.settle_time + MARGIN


def _still_alive(bench: Bench) -> None:
    processes = _processes(bench)
    if not any(process["pid"] == bench.running.pid for process in processes):
        # A keeper that was stopped or starved cannot tell of an exit: that must not be held against the target.
        raise HarnessError("the target's main process is not there any more, but its keeper has not told of its end")
    bench.record("still_alive", processes=processes)


@dataclass(frozen=True, kw_only=True)
class UntilGone:
    """Until the main process has ended, and then until the rest of the tree has, or had its time to."""

    within: float | None = None
    """Seconds; None: the policy's grace period and settle time."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on."""
        until = _limit(bench, since) if self.within is None else since + self.within
        status = bench.running.wait_exit(until=until)
        if status is None:
            _still_alive(bench)
        else:
            record_exit(bench, status, since=since)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_gone"}


@dataclass(frozen=True, kw_only=True)
class UntilServed:
    """Until the load has been served for a while after the fault: for faults after which the service goes on."""

    seconds: float = 1.0

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks for `seconds` from now on: a fault may have taken its time."""
        bench.running.wait_gone(until=time.monotonic())  # raises where its keeper was killed
        assert bench.load is not None, "nothing is served without a load"
        until = time.monotonic() + self.seconds
        with contextlib.suppress(TimeoutError):
            bench.load.wait_for(lambda _progress: False, until=until)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_served"}


@dataclass(frozen=True, kw_only=True)
class UntilStarted:
    """Until the target has ended, or its start-up deadline is over: for a start that must fail.

    `unless_serving`: also ends when it answers a real request rightly, because then what should fail did not. Not for a
    start that may serve for a moment before it fails.
    """

    unless_serving: bool = False

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the launch on and records whether it was ever ready."""
        until = bench.running.started + bench.target.start_deadline
        while True:
            pause = min(until, time.monotonic() + LOOK_EVERY) if self.unless_serving else until
            status = bench.running.wait_exit(until=pause)
            if status is not None or time.monotonic() >= until or (self.unless_serving and _serves(bench)):
                break
        if status is None:
            sample = look(target=bench.target, instance=bench.running)
            outcome = _predict(bench, "at-deadline")
            bench.record("at_deadline", ready=sample.positive, readiness=sample.value(), predict=outcome.to_json())
            _still_alive(bench)
        else:
            record_exit(bench, status, since=since)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_started"}


@dataclass(frozen=True, kw_only=True)
class UntilGoneOrServing:
    """Until it is gone, or until it is clear that it goes on serving as if nothing had happened.

    It goes on serving if, at the end of the settle time (and else at the end of the observation), it is ready and
    answers a real request of each protocol rightly.
    """

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on."""
        settled = since + bench.target.policy.settle_time
        for until in (settled, _limit(bench, since)):
            status = bench.running.wait_exit(until=until)
            if status is not None:
                record_exit(bench, status, since=since)
                return
            if record_serving(bench):
                return
        _still_alive(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_gone_or_serving"}


class _Steadily:
    """Whether it serves, and has for the settle time, by the same processes: what comes and goes does not go on."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.since: float | None = None
        """Since when it has served, at each look."""
        self._by: set[int] = set()
        self.relapsed = False
        """It has served at one look, and at a later one it did not."""

    def look(self) -> bool:
        """Looks once more."""
        if not record_serving(self._bench):
            self.relapsed = self.relapsed or self.since is not None
            self.since = None
            return False
        now, by = time.monotonic(), owners_of_listener(self._bench.running, self._bench.port) or set()
        if self.since is None or not self._by <= by:
            self.since, self._by = now, by
        return now >= self.since + self._bench.target.policy.settle_time


@dataclass(frozen=True, kw_only=True)
class UntilGoneOrReplaced:
    """Until it is gone, or until the processes in which exceptions were raised are, and the others serve on.

    For faults that a process must not survive: a supervisor may replace it, and the server as a whole goes on.
    """

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on; records `struck` with those that are still there.

        `relapsed`: it served, and then did not, and not long enough again to say that it goes on.
        """
        until = _limit(bench, since)
        settled = since + bench.target.policy.settle_time
        serves = _Steadily(bench)
        while True:
            pause = max(settled, time.monotonic() + LOOK_EVERY)
            status = bench.running.wait_exit(until=min(until, pause))
            if status is not None:
                record_exit(bench, status, since=since)
                return
            over = time.monotonic() >= until
            alive = {process.pid for process in bench.running.processes()}
            if bench.running.pid not in alive and not over:
                continue  # it has just ended: its keeper is about to tell how
            struck = {int(report["pid"]) for report in bench.shim().reports().all("fired")}
            there = {pid for pid in alive if bench.running.own_pid(pid) in struck}
            # While the others drain they neither serve nor are gone: that is no end of the observation.
            steady = (over or not there) and serves.look() and not there
            if steady or over:
                bench.record("struck", still_there=sorted(there), relapsed=serves.relapsed and not steady)
                _still_alive(bench)
                return

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_gone_or_replaced"}


@dataclass(frozen=True, kw_only=True)
class UntilBackInService:
    """Until it is gone, or serves on for the settle time; then no new requests are sent, and the last ones waited for.

    For faults that are over when the observation begins (`over` in the proof) and that a server may survive. A process
    that listened and was killed (`pid`, `listened`) must have been replaced: as many listen as before. It has as long
    for all that as for a start, or for its grace period.
    """

    deadline: float
    """Seconds beyond its own duration that a request may take, counted from the end of the fault on."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the end of the last fault on, and records the event `recovery` where it is not gone."""
        policy, proof = bench.target.policy, bench.proofs[-1] if bench.proofs else {}
        over = float(proof.get("over", since))
        until = over + max(policy.grace_period, bench.target.start_deadline) + policy.settle_time + MARGIN
        serves, steady, missing = _Steadily(bench), False, 0
        while (not steady or missing) and time.monotonic() < until:
            status = bench.running.wait_exit(until=min(until, time.monotonic() + LOOK_EVERY))
            if status is not None:
                record_exit(bench, status, since=since)
                return
            steady, missing = serves.look(), self._missing(bench, proof)
        bench.record("recovery", serving=steady, since=serves.since, relapsed=serves.relapsed, workers_missing=missing)
        if bench.load is not None:
            longest = max(request.duration for request in bench.requests_in_load())
            bench.load.stop(grace=self.deadline + longest)
        status = bench.running.exit_status()
        if status is None:
            _still_alive(bench)
        else:
            record_exit(bench, status, since=since)

    def _missing(self, bench: Bench, proof: dict[str, Any]) -> int:
        """How many fewer processes listen than before the fault; 0 where it killed nobody that listened."""
        before = proof.get("listened", [])
        if proof.get("pid") not in before:
            return 0
        return max(0, len(before) - len(owners_of_listener(bench.running, bench.port) or set()))

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_back_in_service", "deadline": self.deadline}


@dataclass(frozen=True, kw_only=True)
class UntilGoneWithoutIdle:
    """Like `UntilGone`, but takes the idle connections away when the exit does not come in time.

    That is the difference between "the exit was late" and "the exit waited for idle connections": if it comes at once
    when they close, they held it up. Lost: comparing with a run without idle connections (two runs differ for many
    reasons).
    """

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on; records `answered`, and `idle_released` if it does so."""
        until = _limit(bench, since)
        status = self._until_answered(bench, until=until)
        if status is None:
            bench.record("answered")
            patience = time.monotonic() + bench.target.policy.settle_time + MARGIN
            status = bench.running.wait_exit(until=min(until, patience))
        if status is None and bench.load is not None:
            bench.record("idle_released")
            bench.load.stop(grace=0.0)
            status = bench.running.wait_exit(until=until)
        if status is None:
            _still_alive(bench)
        else:
            record_exit(bench, status, since=since)

    def _until_answered(self, bench: Bench, *, until: float) -> ExitStatus | None:
        """Waits until no request is in flight any more, or the target has ended."""
        assert bench.load is not None
        names = [s.name for s in bench.streams if isinstance(s, Once)]
        while time.monotonic() < until:
            status = bench.running.wait_exit(until=time.monotonic() + 0.02)
            if status is not None:
                return status
            streams = bench.load.progress().streams
            if not any(streams[name].in_flight for name in names):
                return None
        return None

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_gone_without_idle"}
