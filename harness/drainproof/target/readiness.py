"""When is a target ready? When a listener of its own answers, and a real request has been answered rightly.

A listener is not enough (it opens before the model is loaded), a ready answer is not enough (some servers are "ready"
without a model, and another process on that port answers 200 just as well). So readiness is believed only if the
listening socket belongs to a process of the target's tree, the readiness path answers 2xx, and a real request gets the
answer that the manifest declares as right; where it declares gRPC requests, one of those as well. The first real
requests after the first ready answer are recorded apart: they are what START-1 judges.
"""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from collections.abc import Callable
from ipaddress import ip_address

from drainproof.errors import ExitedEarly, NeverReadyNeverExits, NotReadyInTime, PortTaken, ReadyButNotServing
from drainproof.load.attempt import Attempt, attempt
from drainproof.load.plan import Protocol
from drainproof.probes import health, sockets
from drainproof.probes.processes import sample
from drainproof.target.description import Target
from drainproof.target.instance import Instance

PAUSE = 0.02
"""Seconds between two looks; the exit of the target ends the pause."""

STRANGERS = 5
"""Looks in a row at a stranger's listener that are believed: a process that was just forked is missing from one."""

PROTOCOLS: tuple[Protocol, ...] = ("http", "grpc")
"""Those that a target may speak; the first one always."""

Record = Callable[..., None]


def await_ready(*, target: Target, instance: Instance, record: Record) -> float:
    """Waits until `instance` serves; returns when it did (CLOCK_MONOTONIC seconds).

    Records the events `listening`, `ready`, `first_predict` and `serving`. Raises ExitedEarly, NotReadyInTime,
    NeverReadyNeverExits, ReadyButNotServing or PortTaken, each with the tail of the target's output.
    """
    until = instance.started + target.start_deadline
    port = instance.ports["http"]
    listening = ready = False
    strangers = 0
    last = "its port was never opened"
    while time.monotonic() < until:
        if instance.wait_exit(until=time.monotonic() + PAUSE) is not None:
            raise _exited(instance)
        pids = owners_of_listener(instance, port)
        if pids is None:
            continue
        if not pids:
            strangers += 1
            if strangers < STRANGERS:
                continue
            raise PortTaken(f"port {port} was handed to the target, but another process listens on it")
        strangers = 0
        if not listening:
            listening = True
            record(
                "listening",
                pids=sorted(pids),
                own_pids={pid: instance.own_pid(pid) for pid in sorted(pids)},
                command_lines={one.pid: list(one.cmdline) for one in sample(pids=pids)},
            )
        seen = look(target=target, instance=instance)
        if not seen.positive:
            last = f"{target.readiness} answered {seen.status or seen.failure}{_why_refused(instance, port, seen)}"
            continue
        first = not ready
        if first:
            ready = True
            record("ready", t=seen.t, status=seen.status)
        outcome = predict(target=target, instance=instance, token=f"ready-{uuid.uuid4().hex[:12]}")
        if first:
            record("first_predict", **outcome.to_json())
        if outcome.right:
            record("serving", t=outcome.t)
            return outcome.t
        name = target.fast(outcome.protocol).name
        last = f"{target.readiness} is ready, but the request {name!r} is not answered rightly: {outcome.wrong}"
    if ready:
        raise ReadyButNotServing(f"the target says that it is ready, but never served: {last}\n{_tail(instance)}")
    raise _not_ready(target, instance, last)


def _why_refused(instance: Instance, port: int, seen: health.HealthSample) -> str:
    """The usual reason why a port that listens in a container refuses everybody outside of it."""
    addresses = {listener.address for listener in instance.sockets.listeners(ports=[port])}
    if seen.failure != "refused" or not addresses or not all(ip_address(each).is_loopback for each in addresses):
        return ""
    return f": it listens on {' and '.join(sorted(addresses))} alone, inside its container; let it listen on 0.0.0.0"


def look(*, target: Target, instance: Instance) -> health.HealthSample:
    """One look at the readiness path."""
    sample = health.probe(host=instance.host, port=instance.ports["http"], path=target.readiness)
    assert sample is not None, "nobody cancels this probe"
    return sample


def owners_of_listener(instance: Instance, port: int) -> set[int] | None:
    """The processes of the target that hold a listener on `port`; empty if only strangers do, None if nobody does.

    Where the target has the network for itself, no stranger can, also where we may not look into its processes (we are
    not root, and it is): then its main process stands for them.
    """
    inodes = [listener.inode for listener in instance.sockets.listeners(ports=[port])]
    if not inodes:
        return None
    owners = sockets.owners(inodes=inodes, pids=[process.pid for process in instance.processes()])
    found = set().union(*owners.values())
    if not found and not instance.sockets.listeners(ports=[port]):  # closed between the two looks
        return None
    return found or ({instance.pid} if instance.sockets.own else set())


def predict(*, target: Target, instance: Instance, token: str) -> Attempt:
    """A real request of each protocol that the target speaks; the outcome of the first that went wrong, or the last."""
    outcome = None
    for protocol in PROTOCOLS:
        if outcome is not None and (not outcome.right or not target.speaks(protocol)):
            break
        request = target.fast(protocol)
        outcome = attempt(
            request=request,
            host=instance.host,
            port=instance.ports[request.port],
            token=token,
            timeout=max(5.0, 5 * request.duration),
        )
    assert outcome is not None
    return outcome


def _exited(instance: Instance) -> ExitedEarly:
    status = instance.exit_status()
    assert status is not None
    how = f"with status {status.code}" if status.code is not None else f"by signal {status.signal}"
    after = status.time - instance.started
    return ExitedEarly(f"the target ended {how} after {after:.1f} s, before it was ready\n{_tail(instance)}")


def _not_ready(target: Target, instance: Instance, last: str) -> NotReadyInTime | NeverReadyNeverExits:
    grace = target.policy.grace_period
    text = f"the target was not ready within {target.start_deadline:g} s: {last}"
    with contextlib.suppress(ProcessLookupError):
        instance.send(signal.SIGTERM)
    if instance.wait_exit(until=time.monotonic() + grace) is not None:
        return NotReadyInTime(f"{text} (it ended on SIGTERM)\n{_tail(instance)}")
    return NeverReadyNeverExits(f"{text}; nor did it end within {grace:g} s of SIGTERM\n{_tail(instance)}")


def _tail(instance: Instance) -> str:
    tail = instance.tail().rstrip()
    return f"its last output:\n{tail}" if tail else "it printed nothing"
