"""What every launcher gives: one running copy of a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from drainproof.probes.sockets import Namespace
from drainproof.target.main_kind import MainKind


@dataclass(frozen=True, kw_only=True)
class ExitStatus:
    """How the main process ended. Exactly one of `code` and `signal` is set."""

    time: float
    """CLOCK_MONOTONIC seconds."""
    code: int | None
    signal: int | None

    @property
    def shell_code(self) -> int:
        """The status as a shell shows it: the exit code, or 128 + the number of the signal that killed it."""
        if self.signal is not None:
            return 128 + self.signal
        assert self.code is not None
        return self.code


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What became of a command that was run beside a target."""

    started: float
    ended: float
    code: int | None
    """Its exit status; None where it had to be ended because its time was over."""
    output: str
    """The end of what it printed, both streams."""


class Instance(Protocol):
    """One running copy of a target, however it was launched. Moments are CLOCK_MONOTONIC seconds."""

    @property
    def pid(self) -> int:
        """The main process: exactly what the command line started."""
        ...

    @property
    def group(self) -> int:
        """Its process group."""
        ...

    @property
    def started(self) -> float:
        """When the main process was created."""
        ...

    @property
    def host(self) -> str:
        """The address that its ports are reached at."""
        ...

    @property
    def ports(self) -> Mapping[str, int]:
        """Port numbers by name."""
        ...

    @property
    def tmp(self) -> Path:
        """Its own TMPDIR."""
        ...

    @property
    def output(self) -> Path:
        """The file with its output (`output.jsonl`)."""
        ...

    @property
    def stop_signal(self) -> str:
        """The name of the signal that whoever runs it sends to stop it: the image's STOPSIGNAL, else SIGTERM."""
        ...

    @property
    def obscured(self) -> str | None:
        """Why what clients see says nothing about the server, which serves by now; None where it does."""
        ...

    @property
    def sockets(self) -> Namespace:
        """The network namespace that it listens in, by the numbers in `ports`."""
        ...

    def describe(self) -> dict[str, Any]:
        """What is particular to the way in which it was launched, as JSON values for the evidence."""
        ...

    def own_pid(self, pid: int) -> int:
        """The number that a process of the tree has for itself: in a container another one than outside."""
        ...

    def execute(self, command: Sequence[str], *, until: float) -> Executed:
        """Runs a command where the target runs, in its environment and folder, and ends it at that moment.

        Raises CommandNotStarted where there is no such command, ProcessLookupError where the target has ended.
        """
        ...

    def exit_status(self) -> ExitStatus | None:
        """How the main process ended; None while it runs. Never blocks."""
        ...

    def wait_exit(self, *, until: float) -> ExitStatus | None:
        """Waits for the end of the main process, no longer than until that moment."""
        ...

    def wait_gone(self, *, until: float) -> float | None:
        """Waits for the end of the last process of the tree; returns when that was, or None if it is not yet."""
        ...

    def processes(self) -> list[psutil.Process]:
        """The living tree, main process included, also those that left group and session; no zombies."""
        ...

    def send(self, signum: int) -> None:
        """Sends a signal to the main process. Raises ProcessLookupError where it has ended."""
        ...

    def send_group(self, signum: int) -> None:
        """Sends a signal to the main process's group. Raises ProcessLookupError where nobody is left in it."""
        ...

    @property
    def problems(self) -> list[str]:
        """What went wrong with the watching, without an end to it: output that could not be written, and the like."""
        ...

    def wait_output(self, *, until: float) -> bool:
        """Waits until all output is in the file, which is right after the tree is gone; False if it is not yet."""
        ...

    def kind_of_main(self) -> MainKind:
        """Whether the main process is the server, a shell or a wrapper, with a sentence that says so."""
        ...

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, made fit for a terminal."""
        ...

    def end_processes(self) -> None:
        """SIGKILLs whatever is left of the tree and waits until it is gone. Its files stay, see `end`."""
        ...

    def end(self) -> None:
        """SIGKILLs whatever is left of the tree, waits until it is gone and removes `tmp`. Idempotent."""
        ...
