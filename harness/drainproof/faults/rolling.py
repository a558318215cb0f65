"""A rolling restart: the instances behind the load balancer are restarted one after the other, under load.

Each step is what an orchestrator does: it waits until all servers are in rotation, sends the stop signal, waits until
the process is gone (and sends SIGKILL when its grace period is over), starts a new one on the same port, waits until it
is ready and the balancer sends requests there again. Nobody tells the balancer: it learns from the readiness path.

What proves it? For each server, that it had requests of the balancer in hand when the signal came (the balancer's own
count), that the signal was taken, that the process ended, and that the balancer had it in rotation before. A step that
was not made (the balancer never saw the server come back, the new instance was not ready in time) makes the proof
incomplete, unless it is the server's own doing that it does not come back: it ended, or is ready and does not serve.
That is what the step says then, and the check fails for it.
"""

from __future__ import annotations

import signal as signals
import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import HarnessError, LaunchError, NeverReadyNeverExits, NotReadyInTime
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.signals import TAKEN_WITHIN, send, wait_taken
from drainproof.fleet import SEEN_UP_WITHIN, Fleet, Member
from drainproof.observe import MARGIN
from drainproof.probes import processes
from drainproof.target.description import Target

BUSY_WITHIN = 10.0
"""Seconds until a server must have a request in hand; with some always in flight it is a matter of moments."""

DIES_WITHIN = 10.0
"""Seconds that the kernel gets to end a tree by SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class RollingRestart:
    """Restarts every instance of the fleet in turn, by `signal`; None: the one that whoever runs them sends."""

    signal: str | None = None

    def check(self, target: Target) -> None:
        """Every target can be restarted."""

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "rolling_restart", "signal": self.signal}

    def arm(self, bench: Bench) -> Trigger:
        """Raises HarnessError where there is nothing to roll through."""
        if bench.fleet is None:
            raise HarnessError("a rolling restart needs instances behind a balancer: experiment.run(behind=…)")
        fleet = bench.fleet
        return lambda: self._roll(bench, fleet)

    def _roll(self, bench: Bench, fleet: Fleet) -> dict[str, Any]:
        name = self.signal or _stop_signal(bench)
        steps = []
        for member in fleet.members.values():
            steps.append(_restart(bench, fleet, member, name))
            if not steps[-1].get("seen_up"):
                break
        trouble = [f"server {step['server']}: {step['trouble']}" for step in steps if step.get("trouble")]
        return {
            "kind": "rolling_restart",
            "signal": name,
            "t": steps[0]["t"],
            "steps": steps,
            "proven": not trouble,
            "because": "; ".join(trouble) or f"{len(steps)} servers with requests in hand were stopped by {name}",
        }


def _stop_signal(bench: Bench) -> str:
    """The signal of whoever runs the instances; for a bare process, the first that it declares."""
    target = bench.target
    return target.policy.stop_signals[0] if target.launch == "process" else bench.running.stop_signal


def _restart(bench: Bench, fleet: Fleet, member: Member, name: str) -> dict[str, Any]:
    """One step. `trouble` says why it proves nothing; `not_back` that the new instance did not come up, and why."""
    number = signals.Signals[name]
    old = member.instance
    in_hand = _wait_busy(fleet, member)
    step: dict[str, Any] = {"server": member.name, "t": time.monotonic(), "in_hand": in_hand}
    if not in_hand:
        return {**step, "trouble": "the balancer had not sent it a request that was in flight"}
    try:
        step["disposition"] = processes.signal_state(pid=old.pid).disposition(number)
        step["t"] = time.monotonic()
        send(bench, old, number)
    except ProcessLookupError:
        return {**step, "trouble": "its main process had ended before the signal"}
    step["taken"] = wait_taken(old, number, until=time.monotonic() + TAKEN_WITHIN)
    if step["taken"] is None:
        return {**step, "trouble": f"{name} is still pending in its main process"}
    step |= _end(bench, member, since=step["t"])
    try:
        step["ready"] = fleet.replace(member)
    except (NotReadyInTime, NeverReadyNeverExits) as error:  # a busy machine may be the reason
        return {**step, "trouble": f"the new instance was not there in time: {error}"}
    except LaunchError as error:
        return {**step, "not_back": f"{type(error).__name__}: {error}"}
    if not fleet.balancer.wait_up([member.name], until=time.monotonic() + SEEN_UP_WITHIN):
        state = fleet.balancer.states()[member.name]
        return {**step, "trouble": f"it served again, but the balancer did not see it up ({state.check})"}
    return {**step, "seen_up": time.monotonic()}


def _wait_busy(fleet: Fleet, member: Member) -> int:
    """How many requests it has in hand, all servers being in rotation; 0 where it gets none in time."""
    until = time.monotonic() + BUSY_WITHIN
    while time.monotonic() < until:
        states = fleet.balancer.states()
        if states[member.name].current and all(state.up for state in states.values()):
            return states[member.name].current
        member.instance.wait_exit(until=time.monotonic() + 0.005)
    return 0


def _end(bench: Bench, member: Member, *, since: float) -> dict[str, Any]:
    """Waits for the end as a supervisor does: when the grace period is over, whoever is left gets SIGKILL."""
    old = member.instance
    until = since + bench.target.policy.grace_period
    gone = old.wait_gone(until=until)
    killed = gone is None
    if killed:
        old.end_processes()
        gone = old.wait_gone(until=time.monotonic() + DIES_WITHIN + MARGIN)
    status = old.exit_status()
    how = {} if status is None else {"exit": status.time, "code": status.code, "signal": status.signal}
    return {"killed": killed, "gone": gone, **how}
