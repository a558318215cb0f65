"""Who answers: the workers whose pids the answers to the fast request give, as `[workers] pid` says.

Asks are begun one after the other, whether the ones before have been answered or not. Lost: one ask at a time. Where a
process in front hands requests to its workers, the next ask then comes in the moment in which the worker that has just
answered takes new work, and meets the same worker again and again.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from drainproof.faults.bench import Bench
from drainproof.load.attempt import fetch_json
from drainproof.target.values import find_value

AT_ONCE = 8
"""Asks that may wait for their answer at the same time."""

EVERY = 0.05
"""Seconds between the beginnings of two asks."""

ANSWERS_WITHIN = 6.0
"""Seconds that an ask waits for its answer: the load has its requests in the same queue."""


class Asking:
    """Asks the target from now on, as often as `ask` is called, until the `with` block ends."""

    def __init__(self, bench: Bench, expression: str) -> None:
        self._bench, self._expression = bench, expression
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._begun, self._ended, self._due = 0, 0, 0.0
        self.answers: list[int] = []
        """The pids in the answers until now, as the target knows them, one for each answer."""

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)  # nothing of it is in flight when the fault comes

    def ask(self) -> None:
        """Begins an ask, unless one was begun just now or too many wait for their answer."""
        if time.monotonic() >= self._due and self._begun - self._ended < AT_ONCE:
            self._begun, self._due = self._begun + 1, time.monotonic() + EVERY
            self._pool.submit(self._one).add_done_callback(lambda _: self._end())

    def workers(self) -> set[int]:
        """Those who have answered until now and are processes of the target, by their pids outside of it."""
        said = set(self.answers)
        return {p.pid for p in self._bench.running.processes() if self._bench.running.own_pid(p.pid) in said}

    def _one(self) -> None:
        request, token = self._bench.target.fast(), f"who-{uuid.uuid4().hex[:12]}"
        answer = fetch_json(
            request=request,
            host=self._bench.running.host,
            port=self._bench.ports[request.port],
            token=token,
            timeout=ANSWERS_WITHIN,
        )
        pid = find_value(self._expression, answer.value)
        if isinstance(pid, int) and not isinstance(pid, bool):
            self.answers.append(pid)

    def _end(self) -> None:
        self._ended += 1
