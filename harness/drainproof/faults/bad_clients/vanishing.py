"""The fault that lets clients vanish in the middle of their requests, and measures the target between the rounds.

The order of one run: a reading at rest, a first round that is not compared (threads, caches and buffers that are made
once), then blocks of rounds with a reading after each. While a series looks like a leak, another block follows, so that
what only fills up can be seen to do so (see `leaks`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from drainproof.faults.bad_clients import leaks
from drainproof.faults.bad_clients.crowds import Crowds
from drainproof.faults.bad_clients.malformed import request_with_body
from drainproof.faults.bad_clients.resources import descriptors, reading
from drainproof.faults.bench import Bench, Trigger
from drainproof.target.description import Target

QUIET = 6.0
"""Seconds without a descriptor that is closed, after which no more are expected to be: some servers look after
connections that broke only when their keep-alive time-out (often 5 s) is over."""

SETTLE = 30.0
"""Seconds that descriptors get to be closed in any case."""

BUDGET = 300.0
"""Seconds after which no further crowd is begun. Most servers need five; who works on one request at a time, twenty."""


@dataclass(frozen=True, kw_only=True)
class VanishingClients:
    """Lets `repetitions` clients vanish in blocks of `rounds`: one, or more while they seem to leave something."""

    repetitions: int
    rounds: int

    def check(self, target: Target) -> None:
        """Raises Unsupported where no request has a body."""
        request_with_body(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "vanishing_clients", "repetitions": self.repetitions, "rounds": self.rounds}

    def arm(self, bench: Bench) -> Trigger:
        """Prepares the clients."""
        crowds = Crowds(bench=bench, request=request_with_body(bench.target))
        return lambda: self._inject(bench, crowds)

    def _inject(self, bench: Bench, crowds: Crowds) -> dict[str, Any]:
        """Plays blocks until it is clear that nothing leaks, or that something does."""
        before = time.monotonic()
        until = before + BUDGET
        each = math.ceil(self.repetitions / self.rounds)
        low = descriptors(instance=bench.running, port=bench.port)
        crowds.vanish(each, until=until)
        readings = [_read(bench, crowds, round=0, rest_at=low)]
        warm_up = crowds.vanished
        for block in range(leaks.MOST):
            for number in range(1, self.rounds + 1):
                crowds.vanish(each, until=until)
                rest_at = readings[0]["descriptors"] if number == self.rounds else None
                readings.append(_read(bench, crowds, round=block * self.rounds + number, rest_at=rest_at))
            suspected = leaks.found(readings)
            if not suspected or crowds.stopped or (block > 0 and "descriptors" in suspected):
                break
        done = crowds.vanished - warm_up
        return {
            **self.describe(),
            "t": before,
            "until": time.monotonic(),
            "proven": done >= self.repetitions,
            "because": f"{done} clients vanished in {readings[-1]['round']} rounds, after {warm_up} to warm up"
            + (f"; {crowds.stopped}" if crowds.stopped else ""),
            "request": crowds.request.name,
            "vanished": done,
            "by_stage": crowds.by_stage,
            "waited_behind": crowds.waited_behind,
        }


def _read(bench: Bench, crowds: Crowds, *, round: int, rest_at: int | None) -> dict[str, Any]:
    """A reading; at rest where a number of descriptors is given to which they should return."""
    if rest_at is not None:
        _come_to_rest(bench, rest_at)
    holding = reading(instance=bench.running, port=bench.port)
    line = {"round": round, "vanished": crowds.vanished, "at_rest": rest_at is not None, **holding.to_json()}
    bench.record("holding", **line)
    return line


def _come_to_rest(bench: Bench, rest_at: int) -> None:
    """Waits until the descriptors are back, or have not become fewer for a while."""
    least, end = math.inf, time.monotonic() + SETTLE
    quiet = time.monotonic() + QUIET
    while time.monotonic() < min(quiet, end):
        now = descriptors(instance=bench.running, port=bench.port)
        if now <= rest_at + leaks.SPARE // 2:
            return
        if now < least:
            least, quiet = now, time.monotonic() + QUIET
        if bench.running.wait_exit(until=time.monotonic() + 0.05) is not None:
            return
