"""What is likely to go wrong with a container, said before anything is judged.

None of it is a verdict: a shell may hand its place on to its last command (dash does, bash does), and a server without
a handler may have an init in front of it. CONT-1 judges what really happens.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from drainproof.faults.bench import Bench
from drainproof.probes import processes
from drainproof.target.container.image import Image
from drainproof.target.description import Target
from drainproof.target.main_kind import SHELLS
from drainproof.target.signals import number

DOCKER_STOP = 10.0
"""Seconds that `docker stop` (and Compose) waits before SIGKILL where nobody says otherwise."""


def of_image(*, image: Image, target: Target) -> list[str]:
    """What the image and the policy say."""
    assert target.container is not None, "a target that is launched in containers says how"
    found = []
    command = image.main_command(target.command)
    if _is_shell_form(command):
        exec_form = shlex.split(command[2]) if _is_simple(command[2]) else ["program", "argument"]
        quoted = ", ".join(f'"{word}"' for word in exec_form)
        found.append(
            f"CMD is in shell form ({shlex.join(command[:2])} …), so a shell is PID 1, and a shell passes no signal on "
            f"unless it hands its place on (exec); in exec form: CMD [{quoted}]"
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
    return found


def _is_shell_form(command: Sequence[str]) -> bool:
    return len(command) >= 3 and PurePath(command[0]).name in SHELLS and command[1] == "-c"


def _is_simple(script: str) -> bool:
    """Whether a script is one command that needs no shell."""
    return not set(script) & set("|&;<>()$`\n")


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
            if state.disposition(signal.Signals[name]) == "default":
                self.found.append(
                    f"PID 1 has no handler for {name} ({kind.sentence}): the kernel drops a signal that PID 1 does not "
                    f"handle, so it can only be killed. Handle it, or put an init in front (init = true in [container])"
                )

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "look_at_signals"}
