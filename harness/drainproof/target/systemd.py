"""Launches a target as a process, and stops it as systemd would stop its unit. Emulated: no systemd is asked.

What is emulated is the stop: who gets which signal, and when (systemd.kill(5)). The processes of the unit are those of
the tree, which the keeper holds together as a control group does: a daemon that forks twice stays in it.

What is not: everything that systemd does at the start (users, limits, sandboxing, its bare environment, sockets, the
notify protocol), and what it does when the main process ends by itself (it stops the others then).
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psutil

from drainproof.errors import HarnessError
from drainproof.target import tree
from drainproof.target.description import Target
from drainproof.target.modes import LaunchMode
from drainproof.target.process import ProcessInstance, ProcessLauncher
from drainproof.target.systemd_spec import KILLED, SystemdSpec

ROUNDS = 50
"""So many looks for processes that have not got the signal yet; the supervisor may fork while it is being signalled."""


class SystemdInstance(ProcessInstance):
    """One running unit."""

    def __init__(self, *, spec: SystemdSpec, **arguments: Any) -> None:
        """`arguments`: those of `ProcessInstance`."""
        super().__init__(**arguments)
        self.spec = spec
        self._stopping: threading.Thread | None = None

    def describe(self) -> dict[str, Any]:
        """That it is emulated, and by which rules it is stopped."""
        return {"systemd": "emulated", **self.spec.to_json()}

    @property
    def stop_signal(self) -> str:
        """KillSignal=."""
        return self.spec.kill_signal

    def send_unit(self, signum: int, *, record: Callable[..., None]) -> list[int]:
        """Sends a signal to the unit; returns who got it. Raises ProcessLookupError where its main process has ended.

        The unit's stop signal is the beginning of `systemctl stop`: it goes where KillMode= says, and is followed, in a
        thread, by the final signal for whoever is left; `record` takes that as an event. Any other signal goes to all,
        as `systemctl kill` sends it.
        """
        stop = signal.Signals(signum).name == self.spec.kill_signal
        everybody = not stop or self.spec.kill_mode == "control-group"
        since = time.monotonic()
        reached = self._send(signum, everybody=everybody)
        if stop:
            self._send(signal.SIGCONT, everybody=everybody)
            if self.spec.send_sighup:
                self._send(signal.SIGHUP, everybody=everybody)
            if self._stopping is None:
                self._stopping = threading.Thread(
                    target=self._follow, args=(since, record), name=f"stop of {self.name}", daemon=True
                )
                self._stopping.start()
        return sorted(reached)

    def _send(self, signum: int, *, everybody: bool) -> set[int]:
        """The main process first, as systemd does it; and the others, until a look finds nobody new."""
        try:
            self.send(signum)
        except ProcessLookupError:
            if signum not in (signal.SIGCONT, signal.SIGHUP):  # it may die of the signal before
                raise
        reached = {self.pid}
        for _ in range(ROUNDS if everybody else 0):
            found = {stat.pid for stat in self._living()} - reached
            if not found:
                break
            tree.kill(list(found), signum)
            reached |= found
        return reached

    def _follow(self, since: float, record: Callable[..., None]) -> None:
        """Waits as systemd does, and sends the final signal to whoever is left."""
        until = since + self.spec.timeout_stop if math.isfinite(self.spec.timeout_stop) else math.inf
        try:
            if self.spec.kill_mode == "mixed" and self.wait_exit(until=until) is not None:
                self._kill("its main process had ended", record, everybody=True)
                return
            ended = self.wait_exit if self.spec.kill_mode == "process" else self.wait_gone
            if ended(until=until) is None:
                self._kill("its time was over", record, everybody=self.spec.kill_mode != "process")
        except HarnessError:  # the keeper was killed, which the experiment hears by itself
            return

    def _kill(self, why: str, record: Callable[..., None], *, everybody: bool) -> None:
        left = [process for process in self.processes() if everybody or process.pid == self.pid]
        if not left or not self.spec.send_sigkill:
            return
        number = signal.Signals[self.spec.final_kill_signal]
        shown = [shown for process in left if (shown := _shown(process)) is not None]
        over = why == "its time was over"
        record(
            KILLED,
            signal=number.name,
            because=f"systemd (emulated) sends {number.name}: {why}",
            timeout=over,
            main=any(process.pid == self.pid for process in left),
            processes=shown,
        )
        reached: set[int] = set()
        for _ in range(ROUNDS):
            pids = {stat.pid for stat in self._living() if everybody or stat.pid == self.pid} - reached
            if not pids:
                break
            tree.kill(list(pids), number)
            reached |= pids


def _shown(process: psutil.Process) -> dict[str, Any] | None:
    try:
        return {"pid": process.pid, "cmdline": process.cmdline()}
    except psutil.Error:
        return None


class SystemdLauncher(ProcessLauncher):
    """Starts targets as processes that are stopped as units: a `Launcher`."""

    mode: LaunchMode = "systemd"

    def kind_of_instance(self, target: Target) -> Callable[..., SystemdInstance]:
        """A process that is stopped as a unit."""
        if target.systemd is None:
            raise HarnessError(f"target {target.name} does not say how it is stopped as a unit")
        return partial(SystemdInstance, spec=target.systemd)
