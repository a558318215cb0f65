"""The container reaches its memory limit, and the kernel kills a process in it: the main one, or only a worker.

How is a limit reached that somebody else's server keeps away from?
    A process of ours, the hog, moves into the container's memory group and takes what is left below a limit that was
    drawn close above what the container uses. So the target, its image and its requests need nothing for it, and it
    happens within a fraction of a second. Lost: requests that eat memory (no two servers are alike), a limit from the
    launch on (a guess, and what is below it is killed while it starts), a limit below what is used (the kernel refuses
    it, or kills whom it likes).

How is the victim chosen?
    By `oom_score_adj`. With 1000 a process counts as if it used the whole limit more than it does, so it is always
    before the hog, which can use less than the limit only. To protect all others with -1000 would take
    CAP_SYS_RESOURCE, and is not needed.

What proves it?
    The kernel's own count of kills in that group grew, and the victim, watched by a pidfd since before, is gone.
    `OOMKilled`, as the engine tells it, is true whichever process it was.

Afterwards there is no limit again (or the one that was there): the worker that takes the victim's place needs room.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from drainproof.errors import HarnessError, Inconclusive, Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.container.common import ask, container_of, give_back, group_of, only_in_containers
from drainproof.faults.container.groups import MemoryGroup
from drainproof.faults.reading import read_sockets
from drainproof.probes import sockets
from drainproof.target import kernel
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.main_kind import kind_of_main
from drainproof.target.readiness import owners_of_listener

Victim = Literal["main", "worker"]

ROOM = 64 * 1024 * 1024
"""Bytes between what the container uses and the limit: it goes on working while the hog takes them."""

PATIENCE = 60.0
"""Seconds that the hog may take; it needs a tenth of a second where nobody else wants the CPU."""

DIES_WITHIN = 10.0
"""Seconds that the victim may take to end; on a busy machine it first has to get its turn."""

TOLD_WITHIN = 5.0
"""Seconds that the engine may take to say that a process was killed."""

FIRST_TO_DIE = 1000
"""The highest `oom_score_adj`."""


@dataclass(frozen=True, kw_only=True)
class MemoryLimit:
    """The kernel kills the `victim`: the process that the container stands for, or one of the others that serve."""

    victim: Victim

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target is not launched in a container."""
        only_in_containers(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "memory_limit", "victim": self.victim}

    def arm(self, bench: Bench) -> Trigger:
        """Starts the hog, still outside of the container. Raises Unsupported where it may not move in."""
        group = MemoryGroup(group_of(bench, "memory"))
        group.require_access()
        usual = ask(bench, "asked for its memory limit", lambda: _limits(bench))
        hog = _Hog(group)
        bench.cleanup.append(hog.end)
        return lambda: self._inject(bench, group, hog, usual)

    def _inject(self, bench: Bench, group: MemoryGroup, hog: _Hog, usual: dict[str, int]) -> dict[str, Any]:
        instance = container_of(bench)
        serving = owners_of_listener(instance, bench.port) or set()
        victim = self._choose(bench, serving)
        pidfd = _open(victim)
        try:
            Path(f"/proc/{victim}/oom_score_adj").write_text(str(FIRST_TO_DIE))
            limit = group.used() + ROOM
            ask(
                bench,
                "limited the memory of the container",
                lambda: instance.container.update(mem_limit=limit, memswap_limit=limit),
            )
            table = read_sockets(bench)
            own, since = instance.own_pid(victim), time.monotonic()
            counted = hog.take(limit)
            died = _wait_end(pidfd, DIES_WITHIN if counted else 0.0)
        except OSError as error:
            raise Inconclusive(f"its memory limit could not be reached: {error}") from error
        finally:
            hog.end()
            os.close(pidfd)
            give_back(bench, "gave the container its memory back", lambda: instance.container.update(**usual))
        return {
            **self.describe(),
            "t": since,
            "pid": victim,
            "own_pid": own,
            "limit_bytes": limit,
            "kills": counted,
            "oom_killed": _told(bench) if died else False,
            "listened": sorted(serving),
            "proven": died and counted > 0,
            "because": _because(own, limit, counted, died=died),
            "sockets": table,
        }

    def _choose(self, bench: Bench, listeners: Collection[int]) -> int:
        """The pid of the victim. Raises Unsupported where nobody but the main process serves."""
        instance = bench.running
        tree = {process.pid: process for process in instance.processes()}
        main = _below_wrappers(instance.pid, tree, listeners)
        if self.victim == "main":
            return main
        serving = _busiest(instance, bench.port, tree)
        workers = [pid for pid in serving if pid != main]
        if not workers:
            if not serving:
                raise Inconclusive("no process was seen to serve when the memory limit was due")
            raise Unsupported(
                "its main process serves all requests itself: it has no worker that could be killed alone"
            )
        return workers[0]


def _below_wrappers(main: int, tree: dict[int, psutil.Process], listeners: Collection[int]) -> int:
    """The process that the container stands for: PID 1, or the child of the shell, init or wrapper that is PID 1."""
    living = list(tree.values())
    while kind_of_main(main=main, processes=living, listeners=listeners).kind != "server":
        children = [process.pid for process in living if _parent(process) == main]
        if not children:
            break
        main = min(children, key=lambda pid: tree[pid].create_time())
    return main


def _parent(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return 0


def _busiest(instance: Instance, port: int, tree: dict[int, psutil.Process]) -> list[int]:
    """The processes that hold accepted connections, the one with most of them first."""
    table = instance.sockets.snapshot(port=port).sockets.values()
    inodes = [end.inode for end in table if end.accepted and end.inode]
    held: Counter[int] = Counter()
    for owners in sockets.owners(inodes=inodes, pids=list(tree)).values():
        held.update(owners)
    return [pid for pid, _ in held.most_common()]


def _open(pid: int) -> int:
    try:
        return kernel.pidfd_open(pid)
    except OSError as error:
        raise Inconclusive(f"process {pid} had ended before its container reached the memory limit") from error


def _wait_end(pidfd: int, seconds: float) -> bool:
    """Whether the process has ended, or does within so many seconds."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def _limits(bench: Bench) -> dict[str, int]:
    """What gives the container its memory back; where there was no limit, all of the machine's: no engine takes a 0."""
    container = container_of(bench).container
    container.reload()
    settings = container.attrs["HostConfig"]
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = settings.get("Memory") or everything
    return {"mem_limit": limit, "memswap_limit": settings.get("MemorySwap") or limit}


def _says_so(bench: Bench) -> bool:
    """Whether the engine has heard of it: by `OOMKilled`, which not every one sets for a child, or by its event."""
    container = container_of(bench).container
    api = container.client.api
    if api.inspect_container(container.id)["State"]["OOMKilled"]:
        return True
    asked = {"event": "oom", "container": container.id}
    return any(True for _ in api.events(since=0, until=int(time.time()) + 1, filters=asked, decode=True))


def _told(bench: Bench) -> bool:
    """What the engine says, which hears of it a moment later."""
    instance, until = container_of(bench), time.monotonic() + TOLD_WITHIN
    while bench.running.wait_exit(until=min(until, time.monotonic() + 0.05)) is None and time.monotonic() < until:
        with contextlib.suppress(Inconclusive):  # it has just ended
            if ask(bench, "asked whether it was short of memory", lambda: _says_so(bench)):
                return True
    return instance.out_of_memory


def _because(own: int, limit: int, counted: int, *, died: bool) -> str:
    at = f"at a limit of {limit // 2**20} MiB"
    if not counted:
        return f"{at} the kernel killed nobody in the container"
    if not died:
        return f"{at} the kernel killed another process than {own}"
    return f"{at} the kernel killed process {own} (oom_kill + {counted}, and its pidfd says that it has ended)"


class _Hog:
    """The process that takes the memory."""

    def __init__(self, group: MemoryGroup) -> None:
        self._group = group
        self._process = subprocess.Popen(
            [sys.executable, "-m", "drainproof.faults.container.hog", str(group.counts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )

    def take(self, most: int) -> int:
        """Moves it in and lets it take up to `most` bytes; returns how many processes the kernel killed meanwhile.

        Raises OSError where the container has just ended, HarnessError where the hog fails.
        """
        pid = self._process.pid
        with contextlib.suppress(OSError):  # inherited from whoever runs us, and the hog would die first
            if int(Path(f"/proc/{pid}/oom_score_adj").read_text()) > 0:
                Path(f"/proc/{pid}/oom_score_adj").write_text("0")
        (self._group.folder / "cgroup.procs").write_text(str(pid))
        self._group.require_limit(most, pid=pid)
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{most}\n".encode())
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        said = self._process.stdout.readline().strip() if readable else b""
        if said or not readable:
            return int(said or 0)
        self._process.wait(PATIENCE)
        if self._process.returncode > 0:
            assert self._process.stderr is not None
            raise HarnessError(f"the hog failed: {self._process.stderr.read().decode(errors='replace')[-500:]}")
        return 0 if self._process.returncode == 0 else 1  # it was killed itself: somebody was

    def end(self) -> None:
        """Ends it. Idempotent."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
