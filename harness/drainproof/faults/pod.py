"""The end of a pod, as the kubelet and the endpoint controller perform it, each by its own clock.

Who does what?
    A pod is marked as being deleted (t0), and two parties act on it without waiting for each other. The control plane
    takes the pod's endpoint out of its services; that has to travel (EndpointSlice, kube-proxy or load balancer), and
    until it has arrived new connections are still sent to the pod: `endpoint_lag`. Open connections are not touched.
    The kubelet runs the preStop hook, then sends the stop signal, then SIGKILL (kuberuntime: killContainer,
    executePreStopHook).

How long does the kubelet wait?
    The hook's time counts into the grace period. After the hook the container gets what is left of it, and never less
    than 2 s (minimumGracePeriodInSeconds): so also a container whose hook used up everything gets the signal, and 2 s.
    A hook that fails is an event and nothing more; the signal follows at once. The kubelet counts the hook's time in
    whole seconds, rounded down, so that a real container may get up to a second more than is left; it is not given
    here, since nobody should plan with it.

Lost: stopping the container through its engine (`docker stop`), which has no hook and gives other times; and to let the
endpoint go with the stop signal, which is what many think and what hides the very gap that a preStop hook is there for.
"""

from __future__ import annotations

import signal as signals
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Literal

from drainproof.errors import Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.hooks import HookRunner
from drainproof.faults.reading import read_sockets
from drainproof.faults.signals import because_of, describe_main, wait_taken
from drainproof.load.driver import LoadRun
from drainproof.probes import processes
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.pod import ExecHook, Hook, Pod, SleepHook

MINIMUM_GRACE = 2.0
"""Seconds from the stop signal to SIGKILL that every container gets (minimumGracePeriodInSeconds of the kubelet)."""

LATE_HOOK = 1.0
"""Seconds late at which a hook may begin and still be said to have hung: the kubelet counts whole seconds."""

HookState = Literal["declared", "hangs", "fails"]

HANGING = SleepHook(seconds=86_400.0)
"""A hook that does not end in time. The kubelet's own pause needs nothing inside the container."""

HANGS_FOR = 10.0
"""Seconds of the grace period that a hanging hook is given to use up, where there are more: the end is the same."""

FAILING = ExecHook(command=("/nonexistent/drainproof-pre-stop-hook",))
"""A hook that fails at once, in any container."""


@dataclass(frozen=True, kw_only=True)
class PodTermination:
    """The pod is deleted. Its endpoint leaves the service `endpoint_lag` seconds later.

    `hook`: the declared preStop hook, or one that hangs or fails in its place.
    """

    endpoint_lag: float = 0.0
    hook: HookState = "declared"

    def check(self, target: Target) -> None:
        """Raises Unsupported where the manifest says nothing of a pod, or of a hook that could hang or fail."""
        if target.pod is None:
            raise Unsupported(
                "the manifest says nothing of a pod: name its Kubernetes manifest in [kubernetes], or declare [pod]"
            )
        if self.hook != "declared" and target.pod.pre_stop is None:
            raise Unsupported("the pod has no preStop hook that could hang or fail")

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "pod_termination", "endpoint_lag": self.endpoint_lag, "hook": self.hook}

    def arm(self, bench: Bench) -> Trigger:
        """Finds out who is who; the trigger performs the whole sequence and returns when both clocks have run down."""
        instance = bench.running
        who = {"main": describe_main(instance), "members": sorted(process.pid for process in instance.processes())}
        return lambda: {**self.describe(), **who, **self._terminate(bench)}

    def _terminate(self, bench: Bench) -> dict[str, Any]:
        instance, pod = bench.running, bench.target.pod
        assert pod is not None, "checked before the launch"
        table = read_sockets(bench)
        deleted = time.monotonic()
        if instance.exit_status() is not None:
            return {"t": deleted, "proven": False, "because": "the container had ended before the pod was deleted"}
        if self.hook == "hangs":
            pod = replace(pod, grace_period=min(pod.grace_period, HANGS_FOR))
        bench.record("pod_deleted", t=deleted, grace_period=pod.grace_period)
        endpoint = EndpointRemoval(bench=bench, due=deleted + self.endpoint_lag)
        try:
            stop = _Stop(bench=bench, pod=pod, hook=self._hook(pod), deleted=deleted).perform()
            endpoint.wait()
        finally:
            endpoint.cancel()
        missing = self._missing(stop)
        return {
            "t": deleted,
            "grace_period": pod.grace_period,
            "unrouted": endpoint.removed,
            "sockets": table,
            **stop,
            "proven": missing is None and stop["proven"],
            "because": missing or stop["because"],
        }

    def _hook(self, pod: Pod) -> Hook | None:
        return {"declared": pod.pre_stop, "hangs": HANGING, "fails": FAILING}[self.hook]

    def _missing(self, stop: dict[str, Any]) -> str | None:
        """What was to happen to the hook, and did not."""
        wanted = {"hangs": "hung", "fails": "failed"}.get(self.hook)
        run = stop["pre_stop"]
        return None if wanted in (None, run["outcome"]) else f"the hook was to have {wanted}, but {run['because']}"


class EndpointRemoval:
    """The control plane's clock: a thread, because the kubelet does not wait for it."""

    def __init__(self, *, bench: Bench, due: float) -> None:
        self.removed: float | None = None
        """From when on no new connection was sent to the pod; None without a load."""
        self._bench = bench
        self._due = due
        self._cancelled = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="endpoint removal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        load: LoadRun | None = self._bench.load
        if load is None or self._cancelled.wait(max(0.0, self._due - time.monotonic())):
            return
        try:
            self.removed = load.unroute()
        except Exception as error:  # a thread that dies silently would leave the pod in its service, and say nothing
            self._error = error
            return
        self._bench.record("endpoint_removed", t=self.removed)

    def wait(self) -> None:
        """Waits for the removal. Raises the load engine's error where it failed."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Ends the thread, should it still wait. Idempotent."""
        self._cancelled.set()
        self._thread.join()


@dataclass(kw_only=True)
class _Stop:
    """The kubelet's part: hook, stop signal, SIGKILL."""

    bench: Bench
    pod: Pod
    hook: Hook | None
    deleted: float

    def perform(self) -> dict[str, Any]:
        """Performs it; returns its part of the proof, when the main process has ended."""
        instance, record = self.bench.running, self.bench.record
        runner = HookRunner(instance=instance)
        end_of_grace = self.deleted + self.pod.grace_period
        if self.hook is not None:
            record("pre_stop_started", hook=str(self.hook))
        run = runner.run(self.hook, until=end_of_grace, abandoned_until=end_of_grace + MINIMUM_GRACE)
        if self.hook is not None:
            record("pre_stop_ended", t=run.ended, outcome=run.outcome, because=run.because)
        left = max(MINIMUM_GRACE, self.pod.grace_period - run.seconds)
        told = self._signal(instance, left)
        killed = None
        if instance.wait_exit(until=told.get("sent", time.monotonic()) + left) is None:
            killed = time.monotonic()
            instance.end_processes()
        status = instance.wait_exit(until=time.monotonic() + MINIMUM_GRACE)
        if killed is not None and status is not None and status.time < killed:
            killed = None  # it had just ended, and we were late to hear of it
        if killed is not None:
            record("sigkill_sent", t=killed)
        runner.wait_ended()
        exited = None if status is None else status.time
        if killed is not None and not told["proven"]:
            told |= {"proven": True, "because": f"{told['because']}; SIGKILL followed {left:.1f} s later"}
        if run.outcome == "hung" and runner.delay > LATE_HOOK:
            because = f"the preStop hook began {runner.delay:.1f} s late, and had less than the grace period to end in"
            told |= {"proven": False, "because": because}
        return {**told, "pre_stop": run.to_json(), "left_for_drain": left, "killed": killed, "exited": exited}

    def _signal(self, instance: Instance, left: float) -> dict[str, Any]:
        """Sends the stop signal, with the proof that `faults.signals` explains."""
        name = instance.stop_signal
        number = signals.Signals[name]
        try:
            state = processes.signal_state(pid=instance.pid)
            sent = time.monotonic()
            instance.send(number)
        except ProcessLookupError:
            because = f"the container ended before {name}, of its preStop hook or by itself"
            return {"signal": name, "proven": True, "because": because}
        self.bench.record("stop_signal_sent", t=sent, signal=name)
        taken = wait_taken(instance, number, until=sent + left)
        ended = instance.exit_status() is not None
        first = instance.own_pid(instance.pid) == 1
        return {
            "signal": name,
            "sent": sent,
            "taken": taken,
            "disposition": state.disposition(number),
            "proven": taken is not None,
            "because": because_of(name, state, number, taken=taken is not None, exited=ended, first=first, within=left),
        }
