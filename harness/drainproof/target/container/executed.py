"""The processes that an engine executes in a container: when each began and ended, by the kernel and not by the engine.

An engine takes its time before a command runs and after it has ended, on a busy machine seconds; a hook that is judged
by the engine's answers would pay for that. So the container's control group is looked at meanwhile: whoever is new in
it, and has a parent outside of it, was put there by the engine. Some of these are steps of its runtime; which one is
the command, the engine tells afterwards, by the pid.

Lost: to ask the engine for the pid meanwhile (it answers late, or when the command has ended).
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from drainproof.probes import processes
from drainproof.target import kernel

LOOK = 0.01
"""Seconds between two looks at the control group."""

SHARE = 10
"""So many times as long as a look took is waited before the next: without the group's folder, all of /proc is read."""


@dataclass(kw_only=True)
class Lifetime:
    """One process. Moments are CLOCK_MONOTONIC seconds."""

    pidfd: int
    started: float
    """To 10 ms."""
    ended: float | None = None


class ExecutedProcesses:
    """The processes that come into a container from outside from now on. For one thread."""

    def __init__(self, *, members: Callable[[], Collection[int]]) -> None:
        """`members`: the pids of the container's processes."""
        self._members = members
        self._before = set(members())
        self._seen: dict[int, Lifetime] = {}
        self._poll = select.poll()

    def watch(self, *, until: float) -> None:
        """Looks once, and then waits a little for an end, no longer than until that moment."""
        began = time.monotonic()
        self._look()
        now = time.monotonic()
        self._see_ends(max(0.0, min(max(LOOK, SHARE * (now - began)), until - now)))

    def of(self, pid: int) -> Lifetime | None:
        """The process of that number; None where it was not seen: it lived too shortly."""
        self._look()
        self._see_ends(0.0)
        return self._seen.get(pid)

    def close(self) -> None:
        """Lets go of the processes. Idempotent."""
        while self._seen:
            os.close(self._seen.popitem()[1].pidfd)

    def _look(self) -> None:
        group = set(self._members())
        for pid in group - self._before - self._seen.keys():
            with contextlib.suppress(OSError), contextlib.ExitStack() as stack:  # one that has just ended
                pidfd = kernel.pidfd_open(pid)
                stack.callback(os.close, pidfd)
                sample = processes.sample_one(pid=pid)
                if sample is not None and sample.ppid not in group:
                    self._seen[pid] = Lifetime(pidfd=pidfd, started=sample.created)
                    self._poll.register(pidfd, select.POLLIN)
                    stack.pop_all()

    def _see_ends(self, seconds: float) -> None:
        ready = {descriptor for descriptor, _ in self._poll.poll(1000 * seconds)}
        now = time.monotonic()
        for each in self._seen.values():
            if each.pidfd in ready:
                each.ended = now
                self._poll.unregister(each.pidfd)
