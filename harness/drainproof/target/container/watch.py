"""Watches one container from outside: its output, line by line, and its end.

Three threads, since each waits for something of its own. The output comes over an attached connection, in frames (a
header of 8 bytes: stream, three zeros, length), and is stamped when it is read. The end is the end of PID 1, of which
a pidfd tells within a millisecond; the exit status then comes from the engine, 20 to 800 ms later. It is asked for the
status from the start on: whoever asks when PID 1 has ended is answered when the engine has taken the network down as
well, some tenths of a second later. An engine that goes away breaks that connection off, which is how that is noticed.

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
from drainproof.hidden import NOTHING, Hidden
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
        wait: Callable[[], int],
        hidden: Hidden = NOTHING,
    ) -> None:
        """`wait` blocks until the engine says that the container ended, and returns the exit code that it tells.

        The output is written without what is `hidden`.
        """
        self.changed = threading.Condition()
        self.exit: ExitStatus | None = None
        self.ended_at: float | None = None
        """When PID 1 ended; the status may not be known yet."""
        self.trouble: str | None = None
        """Why nothing more is known of the container."""
        self.output_complete = False
        self.problems: list[str] = []
        self._log = OutputLog(str(output), streams=("stdout", "stderr"), literals=literals, hidden=hidden)
        self._writing = threading.Lock()
        self._connection = connection
        self._socket: socket.socket = getattr(connection, "_sock", connection)
        self._pidfd = pidfd
        self._wait = wait
        self._closing = False
        self._threads = [
            threading.Thread(target=self._read_output, name="drainproof-container-output", daemon=True),
            threading.Thread(target=self._see_end, name="drainproof-container-end", daemon=True),
            threading.Thread(target=self._ask_status, name="drainproof-container-status", daemon=True),
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
        for thread in self._threads[:2]:  # the third one waits for the engine, and needs nothing of what is closed here
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
        if self._pidfd is None:
            return
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        while not poll.poll(1000 * _GLANCE):
            if self._closing:
                return
        with self.changed:
            self.ended_at = self.ended_at or time.monotonic()
            self.changed.notify_all()

    def _ask_status(self) -> None:
        try:
            code = self._wait()
        except Exception as error:  # a thread that dies silently would leave everybody waiting
            with self.changed:
                self.trouble = (
                    str(error)
                    if isinstance(error, HarnessError)
                    else (f"the end of the container cannot be told: {reason(error)}")
                )
                self.changed.notify_all()
            return
        with self.changed:
            if self._pidfd is not None:  # its thread knows the moment better, and is about to tell
                self.changed.wait_for(lambda: self.ended_at is not None, timeout=_LAST_WORDS)
            self.ended_at = self.ended_at or time.monotonic()
            self.exit = exit_status(code, self.ended_at)
            self.changed.notify_all()


def exit_status(code: int, t: float) -> ExitStatus:
    """An engine's exit code as an exit status.

    128 + n for a PID 1 that signal n killed, and for one that exits with that number itself; the kernel does not tell
    the engine's clients which. Only SIGKILL reaches a PID 1 without a handler, so 137 is taken for that signal.
    """
    return (
        ExitStatus(time=t, code=None, signal=9) if code == _BY_SIGKILL else ExitStatus(time=t, code=code, signal=None)
    )
