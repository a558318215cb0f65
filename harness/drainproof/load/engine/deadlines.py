"""Ends what takes too long.

All requests of a plan have the same time, so the first one that began is the first one that is due: one dictionary, in
the order of its insertions, and one timer of the event loop serve them all, and the usual request, which ends in time,
costs one insertion and one deletion. (gevent's `Timeout` costs an object and a timer for each wait.)
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import gevent

from drainproof.load.engine.book import Attempt
from drainproof.load.ledger import Cause

FOREVER = 1e6
"""Seconds; a timer cannot take infinity."""


class Deadlines:
    """Fails every attempt that is between `add` and `discard` for more than `seconds`."""

    def __init__(self, *, seconds: float, cause: Cause) -> None:
        self._seconds = min(seconds, FOREVER)
        self._cause = cause
        self._begun: dict[Attempt, float] = {}
        self._timer: Any = gevent.get_hub().loop.timer(self._seconds)

    def add(self, attempt: Attempt) -> None:
        """The attempt's time begins."""
        self._begun[attempt] = monotonic()
        if not self._timer.active:
            self._arm(self._seconds)

    def discard(self, attempt: Attempt) -> None:
        """The attempt got there."""
        self._begun.pop(attempt, None)

    def waiting(self) -> list[Attempt]:
        """The attempts whose time runs."""
        return list(self._begun)

    def _arm(self, seconds: float) -> None:
        self._timer.stop()
        self._timer.close()
        self._timer = gevent.get_hub().loop.timer(seconds)
        self._timer.start(self._ring)

    def _ring(self) -> None:
        while self._begun:
            attempt, begun = next(iter(self._begun.items()))
            left = begun + self._seconds - monotonic()
            if left > 0:
                return self._arm(left)
            del self._begun[attempt]
            attempt.connection.fail(self._cause)
        return None


class Limits:
    """The times of a plan: for the connection alone, and (None: unlimited) for the request as a whole."""

    def __init__(self, *, connect: float, whole: float | None) -> None:
        self.connect = Deadlines(seconds=connect, cause="connect_timeout")
        self.whole = None if whole is None else Deadlines(seconds=whole, cause="timeout")
