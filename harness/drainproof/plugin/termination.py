"""SIGTERM to pytest ends the run in order, as Ctrl-C does: reports are written, and the last line says what happened.

By default it would kill pytest in silence; the keepers end the targets then, but nobody is told. Only the process that
controls the session does this, and only where nobody else has taken the signal.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

import pytest

from drainproof.plugin.run import Run


class Terminated(KeyboardInterrupt):
    """Ends the session like Ctrl-C, which nothing on the way takes for a failure. pytest shows the text."""


class Termination:
    """Takes SIGTERM from the begin of the session to its end."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._ours = False
        self._came = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """From now on there may be a target."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._end)
            self._ours = True

    def pytest_unconfigure(self) -> None:
        """Gives the signal back."""
        if self._ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._ours = False

    def _end(self, _signum: int, _frame: FrameType | None) -> None:
        """Once: who sends a second one (`timeout` does, at once) must not interrupt the clean-up."""
        if self._came:
            return
        self._came = True
        scenario = self._run.scenario
        where = f" during {scenario.id}" if scenario is not None else ""
        ended = ", the target was ended" if self._run.archive is None else ""
        raise Terminated(f"SIGTERM came{where}{ended}")
