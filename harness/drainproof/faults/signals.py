"""Signals to the main process, to its whole process group or to a systemd unit, with the proof that they arrived.

What proves a signal?
    `kill` returning 0 says only that the kernel queued it. Afterwards it is either still pending, or it was taken: by a
    handler, by the default action, or thrown away because the process ignores it. All of that can be read in
    /proc/PID/status: the masks `SigCgt`, `SigIgn` and `SigBlk` right before the signal, and `SigPnd`/`ShdPnd` after it
    until the bit is gone or the process is. A signal that is blocked or never taken is no proven fault.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from drainproof.errors import Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.reading import read_sockets
from drainproof.probes import processes
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.signals import number as signal_number
from drainproof.target.systemd import SystemdInstance

Recipient = Literal["main", "group", "unit"]
"""`unit`: as systemd (emulated) sends it. In that launch mode every signal goes to the unit."""

TAKEN_WITHIN = 10.0
"""Seconds that a process gets to take a signal; only the scheduler of a very busy machine needs more than one."""


STOP = "STOPSIGNAL"
"""Stands for the signal that whoever runs the instance sends to stop it."""


@dataclass(frozen=True, kw_only=True)
class SignalFault:
    """Sends `signal` (by name, or `STOP`) to the target's main process, to its process group or to its unit."""

    signal: str
    recipient: Recipient = "main"

    def check(self, target: Target) -> None:
        """Raises Unsupported where there is no unit to send it to."""
        if self.recipient == "unit" and target.launch != "systemd":
            raise Unsupported("the target is not launched as a systemd unit (--launch=systemd)")

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "signal", "signal": self.signal, "recipient": self.recipient}

    def arm(self, bench: Bench) -> Trigger:
        """Finds out who is who; the trigger is quick."""
        instance = bench.running
        who = {"main": describe_main(instance), "members": sorted(process.pid for process in instance.processes())}
        if self.recipient == "group" and not isinstance(instance, SystemdInstance):
            who["group"] = _group(instance, who)
        return lambda: self._inject(bench, who)

    def _inject(self, bench: Bench, who: dict[str, Any]) -> dict[str, Any]:
        """Reads the socket table, sends the signal, and waits until the main process has taken it."""
        instance = bench.running
        name = instance.stop_signal if self.signal == STOP else self.signal
        number = signal_number(name)
        assert number is not None, f"{name} was told by the target, or checked with the manifest"
        before = time.monotonic()
        try:
            state = processes.signal_state(pid=instance.pid)
            table = read_sockets(bench)
            before = time.monotonic()
            who |= send(bench, instance, number, to=self.recipient)
        except ProcessLookupError:
            return self._proof(before, before, proven=False, because="the main process had ended before the signal")
        sent = time.monotonic()
        taken = wait_taken(instance, number, until=sent + TAKEN_WITHIN)
        exited = instance.exit_status()
        proven = taken is not None
        return self._proof(
            before,
            sent,
            proven=proven,
            signal=name,
            because=because_of(
                name, state, number, taken=proven, exited=exited is not None, first=instance.own_pid(instance.pid) == 1
            ),
            taken=taken,
            disposition=state.disposition(number),
            **who,
            sockets=table,
        )

    def _proof(self, before: float, sent: float, *, proven: bool, because: str, **more: Any) -> dict[str, Any]:
        return {**self.describe(), "t": before, "sent": sent, "proven": proven, "because": because, **more}


def _group(instance: Instance, who: dict[str, Any]) -> list[int]:
    """The target's processes that are in the process group of its main process.

    Raises Unsupported where that is something in front of the server (an init, a shell, a wrapper) which has put the
    server into a group of its own: a signal to the group would be one to the main process alone, and pass for more.
    """
    members = []
    for pid in who["members"]:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(pid) == instance.group:
                members.append(pid)
    if members == [instance.pid] and len(who["members"]) > 1 and who["main"]["is"] != "server":
        raise Unsupported(f"its main process is alone in its process group, without the server: {who['main']['note']}")
    return members


def send(bench: Bench, instance: Instance, number: int, *, to: Recipient = "main") -> dict[str, Any]:
    """Sends a signal, and says to whom: values for the proof. Raises ProcessLookupError where nobody is there."""
    if isinstance(instance, SystemdInstance):
        reached = instance.send_unit(number, record=bench.record)
        return {"recipient": "unit", "emulated": True, "kill_mode": instance.spec.kill_mode, "reached": reached}
    instance.send_group(number) if to == "group" else instance.send(number)
    return {}


def describe_main(instance: Instance) -> dict[str, Any]:
    """Who the main process is, for a proof: pid, kind and a sentence."""
    kind, sentence = instance.kind_of_main()
    return {"pid": instance.pid, "is": kind, "note": sentence}


def wait_taken(instance: Instance, number: int, *, until: float) -> float | None:
    """When the signal was no longer pending; None when it still is at the moment `until`."""
    while _pending(instance, number):
        if instance.wait_exit(until=min(until, time.monotonic() + 0.001)) is not None:
            break
        if time.monotonic() >= until:
            return None
    return time.monotonic()


def _pending(instance: Instance, number: int) -> bool:
    try:
        return processes.pending(pid=instance.pid, signum=number)
    except ProcessLookupError:
        return False


def because_of(
    name: str,
    state: processes.SignalState,
    number: int,
    *,
    taken: bool,
    exited: bool,
    first: bool,
    within: float = TAKEN_WITHIN,
) -> str:
    """What proves the signal, or why it is not proven.

    `state`: as it was right before; `first`: it is PID 1 where it runs; `within`: seconds that it had.
    """
    disposition = state.disposition(number)
    if not taken:
        why = "it blocks it" if number in state.blocked else "it does not take it"
        return f"{name} is still pending in the main process after {within:.0f} s: {why}"
    if disposition == "ignored":
        return f"the kernel accepted {name}; the main process ignores it (SigIgn)"
    if disposition == "default" and first and not exited:
        return f"the kernel accepted {name} and dropped it: the main process is PID 1 and has no handler for it"
    how = {
        "handled": "has a handler for it (SigCgt)",
        "awaited": "waits for signals, as an init does,",
        "default": "leaves it to the default action",
    }[disposition]
    end = "and ended" if exited else "and took it from the pending set"
    return f"{name} was sent; the main process {how} {end}"
