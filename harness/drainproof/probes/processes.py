"""What /proc says about the target's processes: who they are, and what a signal would do to them.

/proc is read directly and not through psutil, because a sample of the whole tree is taken ten times a second: three
small reads for each process, and no process object to keep.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Disposition = Literal["handled", "awaited", "default", "ignored"]
"""`awaited`: at its default, but the process waits for signals (`sigwait`, `signalfd`), as inits do, which have no
handlers. What is waited for is kept and taken, also by PID 1, to whom other signals at their default are lost."""

STATUS: dict[str, str] = {
    "R": "running",
    "S": "sleeping",
    "D": "disk-sleep",
    "I": "idle",
    "T": "stopped",
    "t": "traced",
    "Z": "zombie",
    "X": "dead",
    "x": "dead",
}
"""The letters of /proc/<pid>/stat in words."""

_TICKS = os.sysconf("SC_CLK_TCK")
_SUSPENDED = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
"""/proc counts from boot; CLOCK_MONOTONIC leaves out the time the machine was suspended. Read once, because `created`
is an identity and must not change by a rounding error."""


@dataclass(frozen=True, kw_only=True)
class ProcessSample:
    """One process at one moment."""

    pid: int
    ppid: int
    created: float
    """When it was made: CLOCK_MONOTONIC seconds, to 10 ms. With `pid` this is its identity: pids are used again."""
    name: str
    """What the kernel calls it: up to 15 characters, and threads or `setproctitle` may change it."""
    cmdline: tuple[str, ...]
    """Its arguments; empty for a zombie."""
    exe: str
    """The name of the program file without its folder; empty where it cannot be known."""
    status: str
    """One of the values of `STATUS`."""

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {
            "pid": self.pid,
            "ppid": self.ppid,
            "created": self.created,
            "name": self.name,
            "cmdline": list(self.cmdline),
            "exe": self.exe,
            "status": self.status,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ProcessSample:
        """Reads what `to_json` wrote."""
        return cls(**{**value, "cmdline": tuple(value["cmdline"])})


def sample(*, pids: Iterable[int]) -> list[ProcessSample]:
    """These processes as they are now, in the order of their pids; those that are gone are left out."""
    found = (sample_one(pid=pid) for pid in sorted(set(pids)))
    return [process for process in found if process is not None]


def sample_one(*, pid: int) -> ProcessSample | None:
    """One process as it is now; `None` if there is none of that pid."""
    folder = Path("/proc") / str(pid)
    try:
        stat = (folder / "stat").read_text(errors="replace")
        cmdline = (folder / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in brackets and may hold brackets and spaces itself.
    before, _, after = stat.rpartition(")")
    columns = after.split()
    arguments = cmdline.decode("utf-8", "replace").rstrip("\0")
    return ProcessSample(
        pid=pid,
        ppid=int(columns[1]),
        created=round(int(columns[19]) / _TICKS - _SUSPENDED, 2),
        name=before.partition("(")[2],
        cmdline=tuple(arguments.split("\0")) if arguments else (),
        exe=_program(folder / "exe"),
        status=STATUS.get(columns[0], columns[0]),
    )


def _program(link: Path) -> str:
    try:
        return Path(os.readlink(link).removesuffix(" (deleted)")).name  # noqa: PTH115 - a Path would drop the suffix
    except OSError:
        return ""


@dataclass(frozen=True, kw_only=True)
class SignalState:
    """What signals would do to one process, and which are on their way to it; from one reading of the kernel."""

    handled: frozenset[int]
    ignored: frozenset[int]
    blocked: frozenset[int]
    """Blocked in every thread: such a signal to the process stays pending (unless one waits in `sigwait`, `signalfd`).
    One free thread is enough to take a signal."""
    pending: frozenset[int]
    """Sent and not delivered: to the process, or to one of its threads."""
    waits: bool = False
    """Its main thread is in `sigwait` or the like: meanwhile the kernel shows what it waits for as not blocked."""

    def disposition(self, signum: int) -> Disposition:
        """What the process has set for this signal. SIGKILL and SIGSTOP are always `default`."""
        if signum in self.handled:
            return "handled"
        if signum in self.ignored:
            return "ignored"
        return "awaited" if self.waits or signum in self.blocked else "default"

    def to_json(self) -> dict[str, list[int]]:
        """JSON values: sorted signal numbers."""
        return {
            "handled": sorted(self.handled),
            "ignored": sorted(self.ignored),
            "blocked": sorted(self.blocked),
            "pending": sorted(self.pending),
        }


def signal_state(*, pid: int) -> SignalState:
    """The signal masks of a process. Raises ProcessLookupError if it is gone; a zombie has empty masks."""
    folder = Path("/proc") / str(pid)
    process = _masks(folder / "status")
    threads = []
    for task in _threads(folder):
        try:
            threads.append(_masks(task / "status"))
        except ProcessLookupError:
            continue  # a thread that has just ended
    threads = threads or [process]
    return SignalState(
        handled=process["SigCgt"],
        ignored=process["SigIgn"],
        blocked=frozenset.intersection(*(thread["SigBlk"] for thread in threads)),
        pending=process["ShdPnd"].union(*(thread["SigPnd"] for thread in threads)),
        waits=_waits(folder),
    )


def signal_disposition(*, pid: int, signum: int) -> Disposition:
    """What a process has set for this signal. Raises ProcessLookupError where it is gone."""
    return signal_state(pid=pid).disposition(signum)


def blocked(*, pid: int, signum: int) -> bool:
    """Whether every thread of a process blocks this signal. Raises ProcessLookupError."""
    return signum in signal_state(pid=pid).blocked


def pending(*, pid: int, signum: int) -> bool:
    """Whether this signal was sent to a process and not delivered yet. Raises ProcessLookupError."""
    return signum in signal_state(pid=pid).pending


def _waits(folder: Path) -> bool:
    """Whether the main thread sleeps in `sigtimedwait`; False where we may not look (we are not root, and it is)."""
    try:
        return "sigtimedwait" in (folder / "wchan").read_text()
    except OSError:
        return False


def _threads(folder: Path) -> list[Path]:
    try:
        return list((folder / "task").iterdir())
    except OSError:
        return []


def _masks(status: Path) -> dict[str, frozenset[int]]:
    """The signal masks of one status file, by the kernel's name for them."""
    try:
        text = status.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(f"no such process or thread: {status.parent.name}") from error
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: _numbers(int(lines[name], 16)) for name in ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")}


def _numbers(mask: int) -> frozenset[int]:
    return frozenset(number for number in range(1, 65) if mask >> (number - 1) & 1)
