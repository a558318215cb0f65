"""Watches one container from outside: its output, line by line, and its end.

Two threads, since each waits for something of its own. The output comes over an attached connection, in frames (a
header of 8 bytes: stream, three zeros, length), and is stamped when it is read. The end is the end of PID 1, of which
a pidfd tells within a millisecond; the exit status then comes from the engine, 20 to 400 ms later.

Lost: attaching after the start, with the engine's log for what was printed before (see `made.py`); `docker wait` and
the `die` event for the moment (200 to 440 ms and 20 to 40 ms late); `docker logs` for the output (whole lines only, by
the engine's clock, and not with every log driver).
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drainproof.errors import HarnessError
from drainproof.target.container.engine import reason
from drainproof.target.instance import ExitStatus
from drainproof.target.output import LONGEST_LINE, OutputLog

HEAD = 8
"""Bytes before each frame: stream, three zeros, length."""

_STREAMS = {0: "stdout", 1: "stdout", 2: "stderr"}
_GLANCE = 1.0
"""Seconds between two looks at whether nobody waits for the end any more."""

_PATIENCE = 0.25
"""Seconds between two looks at what is to be written to the file while nothing comes."""

_LAST_WORDS = 5.0
"""Seconds that the output may go on after the end of PID 1: the engine passes on what it has read."""

_BY_SIGKILL = 128 + 9


class Watch:
    """One container. The fields below `changed` are written by the threads, while they hold it."""

    def __init__(
        self,
        *,
        connection: Any,
        output: Path,
        literals: tuple[str, ...],
        pidfd: int | None,
        wait: Callable[[], Any],
        require: Callable[[], None],
    ) -> None:
        """`wait` blocks until the engine says that the container ended, and returns its `State`.

        `require` raises HarnessError where the engine does not answer any more.
        """
        self.changed = threading.Condition()
        self.exit: ExitStatus | None = None
        self.state: dict[str, Any] = {}
        """What the engine says of the end: `ExitCode`, `OOMKilled`, …"""
        self.ended_at: float | None = None
        """When PID 1 ended; the status may not be known yet."""
        self.trouble: str | None = None
        """Why nothing more is known of the container."""
        self.output_complete = False
        self.problems: list[str] = []
        self._log = OutputLog(str(output), streams=("stdout", "stderr"), literals=literals)
        self._writing = threading.Lock()
        self._connection = connection
        self._socket: socket.socket = getattr(connection, "_sock", connection)
        self._pidfd = pidfd
        self._wait = wait
        self._require = require
        self._closing = False
        self._threads = [
            threading.Thread(target=self._read_output, name="drainproof-container-output", daemon=True),
            threading.Thread(target=self._see_end, name="drainproof-container-end", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def recent(self, lines: int) -> list[str]:
        """The newest lines of its output."""
        with self._writing:
            return self._log.recent(lines)

    def wait_for(self, condition: Callable[[], Any], *, until: float) -> bool:
        """Waits until the condition holds, or for that moment."""
        with self.changed:
            return bool(
                self.changed.wait_for(condition, timeout=min(max(0.0, until - time.monotonic()), threading.TIMEOUT_MAX))
            )

    def close(self) -> None:
        """Ends the threads; the container must have ended, or the engine be gone. Idempotent."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_LAST_WORDS)
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    # -- output --

    def _read_output(self) -> None:
        received = b""
        try:
            self._socket.settimeout(_PATIENCE)
            while True:
                try:
                    data = self._socket.recv(64 * 1024)
                except TimeoutError:
                    self._write()
                    if self._over():
                        break
                    continue
                if not data:
                    break
                received = self._take(received + data)
                self._write()
        except OSError as error:
            if self.ended_at is None:
                self.problems.append(f"its output could not be read any more: {reason(error)}")
        if self.ended_at is None and not self._closing:
            self._ask_engine()
        with self._writing:
            self._log.finish(time.monotonic())
            if self._log.problem:
                self.problems.append(self._log.problem)
        for each in (self._connection, self._socket):
            with contextlib.suppress(Exception):
                each.close()
        with self.changed:
            self.output_complete = True
            self.changed.notify_all()

    def _ask_engine(self) -> None:
        """The stream ended and PID 1 has not: a container that is just ending, or an engine that has gone away."""
        try:
            self._require()
        except Exception as error:  # as in `_see_end`
            with self.changed:
                self.trouble = _trouble(error)
                self.changed.notify_all()

    def _over(self) -> bool:
        return self.ended_at is not None and time.monotonic() > self.ended_at + _LAST_WORDS

    def _take(self, data: bytes) -> bytes:
        """Takes whole frames; returns what is left of the data."""
        now, at = time.monotonic(), 0
        while len(data) - at >= HEAD:
            begin = at + HEAD
            end = begin + int.from_bytes(data[at + 4 : begin], "big")
            if len(data) < end:
                break
            with self._writing:
                for start in range(begin, end, LONGEST_LINE):
                    self._log.feed(_STREAMS.get(data[at], "stdout"), now, data[start : min(start + LONGEST_LINE, end)])
            at = end
        return data[at:]

    def _write(self) -> None:
        with self._writing:
            self._log.work(until=time.monotonic() + 0.05)

    # -- the end --

    def _see_end(self) -> None:
        seen: float | None = None
        try:
            if self._pidfd is not None:
                poll = select.poll()
                poll.register(self._pidfd, select.POLLIN)
                while not poll.poll(1000 * _GLANCE):
                    if self._closing:
                        return
                seen = time.monotonic()
                with self.changed:
                    self.ended_at = seen
                    self.changed.notify_all()
            state = self._wait()
            seen = seen if seen is not None else time.monotonic()
            code = int(state["ExitCode"])
        except Exception as error:  # a thread that dies silently would leave everybody waiting
            with self.changed:
                self.trouble = _trouble(error)
                self.changed.notify_all()
            return
        with self.changed:
            self.ended_at = seen
            self.state = state
            self.exit = exit_status(code, seen)
            self.changed.notify_all()


def _trouble(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    return f"the end of the container cannot be told: {reason(error)}"


def exit_status(code: int, t: float) -> ExitStatus:
    """An engine's exit code as an exit status.

    128 + n for a PID 1 that signal n killed, and for one that exits with that number itself; the kernel does not tell
    the engine's clients which. Only SIGKILL reaches a PID 1 without a handler, so 137 is taken for that signal.
    """
    return (
        ExitStatus(time=t, code=None, signal=9) if code == _BY_SIGKILL else ExitStatus(time=t, code=code, signal=None)
    )
