"""SIGTERM and SIGHUP end a command like Ctrl-C does: what it has started, and its temporary folder, go with it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Ended(KeyboardInterrupt):
    """A signal came. Nothing on the way takes it for a failure."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raises Ended at the first of the signals, and ignores those that come during the clean-up.

    A signal that is ignored stays so (`nohup`), and one that somebody else takes stays theirs.
    """
    taken = [s for s in SIGNALS if _in_main_thread() and signal.getsignal(s) is signal.SIG_DFL]

    def end(signum: int, _frame: FrameType | None) -> None:
        for each in taken:
            signal.signal(each, signal.SIG_IGN)
        raise Ended(signum)

    for each in taken:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in taken:
            signal.signal(each, signal.SIG_DFL)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
