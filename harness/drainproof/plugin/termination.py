"""SIGTERM to pytest ends the run in order, as Ctrl-C does: reports are written, and the last line says what happened.

By default it would kill pytest in silence; the keepers end the targets then, but nobody is told. Only the process that
controls the session does this, and only where nobody else has taken the signal.

A process that a test forks must die of SIGTERM as it would without us (`multiprocessing` ends its children by it).
Python forgets a signal with a handler in Python that reaches a child right after the fork, so it is held back
around a fork until the child has the default action again. What is executed (`subprocess`) has that anyway.
"""

from __future__ import annotations

import os
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
        self._forking = threading.local()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """From now on there may be a target."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork, after_in_child=self._in_child
            )
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

    def _before_fork(self) -> None:
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]) if self._ours else None

    def _after_fork(self) -> None:
        mask = getattr(self._forking, "mask", None)
        if mask is None:
            return
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except Terminated:  # it came during the fork; what is raised here would be ignored, so it has to come once more
            self._came = False
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()

    def _in_child(self) -> None:
        self.pytest_unconfigure()
        self._after_fork()
