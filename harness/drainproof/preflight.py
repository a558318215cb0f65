"""What is likely to go wrong with a container, said before anything is judged.

None of it is a verdict: a shell may hand its place on to its last command (dash does, bash does), and a server without
a handler may have an init in front of it. CONT-1 judges what really happens.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from drainproof.faults.bench import Bench
from drainproof.probes import processes
from drainproof.target.container.image import Image
from drainproof.target.description import Target
from drainproof.target.main_kind import SHELLS
from drainproof.target.pod import SleepHook
from drainproof.target.signals import number

DOCKER_STOP = 10.0
"""Seconds that `docker stop` (and Compose) waits before SIGKILL where nobody says otherwise."""


def of_image(*, image: Image, target: Target) -> list[str]:
    """What the image and the policy say."""
    assert target.container is not None, "a target that is launched in containers says how"
    found = []
    command = image.main_command(target.command)
    if _is_shell_form(command):
        who = "a shell is what the init starts" if target.container.init else "a shell is PID 1"
        found.append(
            f"CMD is in shell form ({shlex.join(command[:2])} …), so {who}, and a shell passes no signal on "
            f"unless it hands its place on (exec); in exec form: CMD {json.dumps(_exec_form(command[2]))}"
        )
    stop = image.stop_signal
    names = [name for name in target.policy.stop_signals if stop and number(stop) == number(name)]
    if stop and not names:
        found.append(
            f"the image's STOPSIGNAL is {stop}, which policy.stop_signals does not have "
            f"({', '.join(target.policy.stop_signals)}): that is what engines and Kubernetes will send"
        )
    grace = target.policy.grace_period
    if grace > DOCKER_STOP:
        found.append(
            f"the policy's grace period is {grace:g} s, but `docker stop` sends SIGKILL after {DOCKER_STOP:g} s "
            f"unless it is told otherwise: --stop-timeout {grace:g}, or stop_grace_period: {grace:g}s in Compose"
        )
    found += _of_pod(target)
    return found


def _of_pod(target: Target) -> list[str]:
    """Whether the policy's grace period and a preStop pause fit in the pod's.

    How long a hook of another kind takes is not known before it has run, and where the policy says nothing of its own,
    its grace period is the pod's: CONT-3 judges both.
    """
    pod, grace = target.pod, target.policy.grace_period
    if pod is None or pod.sources.get("policy.grace_period") != "[policy]":
        return []
    pause = pod.pre_stop.seconds if isinstance(pod.pre_stop, SleepHook) else 0.0
    if pause + grace <= pod.grace_period:
        return []
    hook, fits = (f"a preStop pause of {pause:g} s and ", "do") if pause else ("", "does")
    return [
        f"{hook}the policy's grace period of {grace:g} s {fits} not fit in the pod's of "
        f"{pod.grace_period:g} s, at whose end comes SIGKILL: terminationGracePeriodSeconds: {math.ceil(pause + grace)}"
    ]


def _is_shell_form(command: Sequence[str]) -> bool:
    """A script whose one command is `exec` hands its place on, which is as good as exec form."""
    if len(command) < 3 or PurePath(command[0]).name not in SHELLS or command[1] != "-c":
        return False
    words = _words(command[2])
    return words is None or words[:1] != ["exec"]


def _exec_form(script: str) -> list[str]:
    """What a script would be as a list of words; an example where it needs a shell."""
    return _words(script) or ["program", "argument"]


def _words(script: str) -> list[str] | None:
    """The words of a script that is one command and needs no shell; None for any other."""
    if set(script) & set("|&;<>()$`*?[]{}~#\n"):
        return None
    try:
        words = shlex.split(script)
    except ValueError:  # a quotation that does not end
        return None
    return None if not words or "=" in words[0] else words


@dataclass(kw_only=True)
class LookAtSignals:
    """An observer that looks at what the stop signals would do to PID 1, and touches nothing."""

    found: list[str] = field(default_factory=list)

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks once, when it serves."""
        instance = bench.running
        try:
            state = processes.signal_state(pid=instance.pid)
        except ProcessLookupError:
            return
        kind = instance.kind_of_main()
        for name in bench.target.policy.stop_signals:
            signum = number(name)
            if signum is not None and state.disposition(signum) == "default":
                self.found.append(
                    f"PID 1 has no handler for {name} ({kind.sentence}): the kernel drops a signal that PID 1 does not "
                    f"handle, so it can only be killed. Handle it, or put an init in front (init = true in [container])"
                )

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "look_at_signals"}
