"""Births and deaths of a target's processes, each with its moment.

Which way, and which lost?
    A death is told by a pidfd, which becomes readable as the process ends: the thread that waits on all of them stamps
    it as it gets to run (a busy machine makes that late, never early), and a pid that is used again confuses nobody.
    For births nothing of the kind exists without privileges (the kernel's process connector, eBPF and ptrace all need
    them, and ptrace changes what it watches), so the children of all known processes are read again every `INTERVAL`.
    When it was born the kernel itself says, to 10 ms, so the interval does not blur the schedule; what it does is to
    miss a process that lives for less than that. Every gap between two looks that a busy machine made longer than
    `GAP` is recorded, so that a judge knows what may be missing.

The lines go to the timeline (`t` is the moment itself, so they are not in the order of their moments):

    {"t", "event": "born", "pid", "own_pid", "parent", "exe", "cmdline", "seen"}    t: by the kernel, to 10 ms
    {"t", "event": "became", "pid", "exe", "cmdline"}                       after an exec
    {"t", "event": "died", "pid"}
    {"t", "event": "blind", "until"}                                        nobody looked in between
    {"t", "event": "watched", "interval", "worst_gap"}                      at the end
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from drainproof.errors import HarnessError
from drainproof.probes.processes import ProcessSample, sample_one
from drainproof.target import kernel, tree
from drainproof.target.instance import Instance

INTERVAL = 0.005
"""Seconds between two looks."""

GAP = 0.1
"""Seconds without a look that are worth telling."""

WHOLE_TREE = 0.25
"""Seconds between two looks at the whole tree, which also finds what was born to a process that nobody knew."""

YOUNG = 5.0
"""Seconds in which a process is looked at again: it may become another program (exec)."""

Hook = Callable[[ProcessSample], None]


@dataclass(kw_only=True)
class _Known:
    """A living process."""

    sample: ProcessSample
    pidfd: int
    seen: float


class BirthWatch:
    """Watches from a thread of its own, from `start` to `stop`. Hooks are called in it."""

    def __init__(self, *, instance: Instance, record: Callable[..., None]) -> None:
        self._instance = instance
        self._record = record
        self._lock = threading.Lock()
        self._known: dict[int, _Known] = {}
        self._met: list[_Known] = []
        self._buried: set[tuple[int, float]] = set()
        """Pid and birth of those that have died: until they are reaped they still have a place in the tree."""
        self._hooks: list[Hook] = []
        self._poll = select.poll()
        self._by_pidfd: dict[int, int] = {}
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._worst = 0.0
        self._whole_tree_at = 0.0
        self._thread = threading.Thread(target=self._run, name="drainproof-births", daemon=True)

    def start(self) -> None:
        """Begins to look; what there is already counts as born."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking. Idempotent. Raises HarnessError if it had broken down."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join(10.0)
        self._bury(time.monotonic())  # what has died just now
        with self._lock:
            for known in self._known.values():
                os.close(known.pidfd)
            self._known.clear()
        self._record("watched", interval=INTERVAL, worst_gap=round(self._worst, 4))
        if self._failure is not None:
            text = f"the watch over births and deaths broke down: {type(self._failure).__name__}: {self._failure}"
            raise HarnessError(text) from self._failure

    def living(self) -> list[ProcessSample]:
        """Those that live, as they were last seen."""
        with self._lock:
            return [known.sample for known in self._known.values()]

    def seen(self) -> list[ProcessSample]:
        """All that were ever seen, each as it was last, in the order of their discovery. A pid may be there twice."""
        with self._lock:
            return [known.sample for known in self._met]

    def send(self, one: ProcessSample, signum: int) -> None:
        """Sends a signal to one that was seen, by its pidfd. Raises ProcessLookupError where it has ended."""
        with self._lock:
            known = self._known.get(one.pid)
            if known is None or known.sample.created != one.created:
                raise ProcessLookupError(f"process {one.pid} has ended")
            kernel.pidfd_send_signal(known.pidfd, signum)

    def each_birth(self, hook: Hook) -> Callable[[], None]:
        """Calls `hook` for each process that is young, again where it has become another program; returns what ends it.

        The hook is also called for those that are young already.
        """
        with self._lock:
            self._hooks.append(hook)
            young = [known.sample for known in self._known.values() if time.monotonic() < known.seen + YOUNG]
        for sample in young:
            hook(sample)

        def end() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._hooks.remove(hook)

        return end

    def _run(self) -> None:
        try:
            last = time.monotonic()
            while not self._stopping.is_set():
                cpu = time.thread_time()
                self._bury(time.monotonic())
                self._look()
                now = time.monotonic()
                if now - last > GAP:
                    self._record("blind", t=last, until=now)
                self._worst = max(self._worst, now - last)
                last = now
                # One that works gets at most half of its thread's time: the machine is there for the target.
                pause = max(INTERVAL, time.thread_time() - cpu)
                self._wait(now + pause)
        except BaseException as error:  # stop() raises it again
            self._failure = error

    def _wait(self, until: float) -> None:
        """Until that moment; deaths that come meanwhile are stamped as they come."""
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            if self._poll.poll(max(1, int(left * 1000))):
                self._bury(time.monotonic())

    def _bury(self, now: float) -> None:
        for pidfd, _ in self._poll.poll(0):
            pid = self._by_pidfd.pop(pidfd)
            self._poll.unregister(pidfd)
            with self._lock:  # nobody shall signal by a descriptor that is another's by then
                sample = self._known.pop(pid).sample
                os.close(pidfd)
            self._buried.add((pid, sample.created))
            self._record("died", t=now, pid=pid)

    def _look(self) -> None:
        waiting = [self._instance.pid, *self._known]
        if time.monotonic() >= self._whole_tree_at:
            self._whole_tree_at = time.monotonic() + WHOLE_TREE
            with contextlib.suppress(psutil.Error):
                waiting += [process.pid for process in self._instance.processes()]
        done: set[int] = set()
        while waiting:
            pid = waiting.pop()
            if pid in done:
                continue
            done.add(pid)
            known = self._known.get(pid)
            if known is None and not self._meet(pid):
                continue
            if known is not None and time.monotonic() < known.seen + YOUNG:
                self._look_again(known)
            waiting += tree.children(pid)

    def _meet(self, pid: int) -> bool:
        """A process that was not known. Whether it lives."""
        try:
            pidfd = kernel.pidfd_open(pid)
        except OSError:
            return False
        sample = sample_one(pid=pid)
        now = time.monotonic()
        if sample is None or (pid, sample.created) in self._buried:
            os.close(pidfd)
            return False
        what = {"pid": pid, "parent": sample.ppid, "exe": sample.exe, "cmdline": list(sample.cmdline)}
        self._record("born", t=sample.created, seen=now, own_pid=self._instance.own_pid(pid), **what)
        self._by_pidfd[pidfd] = pid
        self._poll.register(pidfd, select.POLLIN)
        with self._lock:
            self._known[pid] = _Known(sample=sample, pidfd=pidfd, seen=now)
            self._met.append(self._known[pid])
            hooks = list(self._hooks)
        for hook in hooks:
            hook(sample)
        return True

    def _look_again(self, known: _Known) -> None:
        sample = sample_one(pid=known.sample.pid)
        if sample is None or not sample.cmdline:  # gone, or a zombie: its end is about to be told
            return
        if known.sample.exe and not sample.exe:  # it is about to end: its program is let go of before its arguments
            return
        changed = (sample.exe, sample.cmdline) != (known.sample.exe, known.sample.cmdline)
        known.sample = sample
        if changed:
            self._record("became", pid=sample.pid, exe=sample.exe, cmdline=list(sample.cmdline))
            with self._lock:
                hooks = list(self._hooks)
            for hook in hooks:
                hook(sample)
