"""Observers of what a supervisor does about its workers: replaces them, tries again and again, gives up.

They only look, and record what they see; what follows from it is for `evidence/workers.py`. The births and deaths are
recorded by the watch, the answers to clients by the load.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.faults.bench import Bench
from drainproof.load.attempt import fetch_json
from drainproof.load.plan import Request
from drainproof.observe import LOOK_EVERY, MARGIN, record_exit, record_serving
from drainproof.target.tree import read_stat

LATE = 1.0
"""Seconds by which an attempt may come late beyond its tolerance: a supervisor looks from time to time, and the machine
is busy."""

ENOUGH = 6
"""Attempts that show a schedule which has no declared limit."""

BEYOND = 2
"""Attempts beyond the declared limit that are waited for: more would only show the same."""

QUIET = 10.0
"""Seconds without an attempt after which a supervisor without a declared schedule is taken to have given up."""

NOBODY = 3.0
"""Seconds that no worker lives beyond the time that a client waits."""


def successors(bench: Bench) -> list[int]:
    """The workers that have been born since the workers were found, dead or alive, in the order of their discovery."""
    assert bench.workers_found is not None
    return [pid for pid in bench.seen_workers() if pid not in bench.workers_found.pids]


def living_workers(bench: Bench) -> list[int]:
    """Those workers that live now."""
    assert bench.births is not None and bench.workers_found is not None
    kin = bench.workers_found.kin
    return [
        one.pid
        for one in bench.births.living()
        if kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline)
        and (stat := read_stat(one.pid)) is not None
        and stat.alive
    ]


def record_description(bench: Bench) -> None:
    """What the target itself tells of its workers, if the manifest says where; recorded as `described`."""
    describe = bench.target.workers_are.describe
    if describe is None:
        return
    request = Request(name="describe", method="GET", path=describe.path)
    port = bench.ports[describe.port]
    told = fetch_json(request=request, host=bench.running.host, port=port, timeout=LOOK_EVERY * 8)
    bench.record("described", t=told.t, status=told.status, value=told.value, failure=told.failure)


def _let_them_live(bench: Bench) -> None:
    if bench.executioner_ends is not None:
        bench.executioner_ends()
        bench.record("spared")


@dataclass(frozen=True, kw_only=True)
class UntilRecovered:
    """Until as many workers live as before and a real request succeeds, or the declared time for that is over.

    And until what was in flight at the fault has ended, or its client has waited for longer than `answer_within`.
    """

    attempts: int = 0
    """So many attempts are made to fail before one may succeed: the declared delays before them count."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on; records `recovered`."""
        assert bench.workers_found is not None
        restart, wanted = bench.target.policy.restart, len(bench.workers_found.pids)
        record_description(bench)
        longest = max((r.duration for r in bench.requests_in_load() if r.duration != float("inf")), default=0.0)
        allowed = restart.recovers_within(bench.target.start_deadline)
        allowed += sum(restart.delays(self.attempts + 1)) * (1 + restart.tolerance) if self.attempts else 0.0
        patience, answered = since + allowed + MARGIN, since + restart.answer_within + longest + MARGIN
        waiting = _in_flight(bench)
        recovered = False
        while time.monotonic() < (answered if recovered else max(patience, answered)):
            if (status := bench.running.wait_exit(until=time.monotonic() + LOOK_EVERY)) is not None:
                record_exit(bench, status, since=since)
                return
            if not recovered and len(living_workers(bench)) >= wanted and record_serving(bench):
                bench.record("recovered", workers=living_workers(bench))
                recovered = True
            waiting &= _in_flight(bench)
            if recovered and not waiting:
                break
        if not recovered:
            record_serving(bench)
        record_description(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_recovered", "attempts": self.attempts}


def _in_flight(bench: Bench) -> set[int]:
    """The client ports of the requests that are in flight now."""
    if bench.load is None:
        return set()
    streams = bench.load.progress().streams.values()
    return {port for stream in streams for port in stream.in_flight_ports}


@dataclass(frozen=True, kw_only=True)
class WhileRestarting:
    """As long as the supervisor goes on with its attempts, and until it is clear that it has stopped.

    At most `policy.restart.observe` seconds; records `gave_up` with how long nothing had come by then, or `went_on`.
    """

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on."""
        restart = bench.target.policy.restart
        most = restart.most_attempts()
        record_description(bench)
        seen, quiet_since = 0, since
        while True:
            now = time.monotonic()
            if (status := bench.running.wait_exit(until=now + LOOK_EVERY / 5)) is not None:
                record_exit(bench, status, since=status.time)
                return
            if (count := len(successors(bench))) > seen:
                seen, quiet_since = count, time.monotonic()
            delays = restart.delays(seen + 1)
            due = delays[-1] * (1 + restart.tolerance) + LATE if delays else QUIET
            if now > quiet_since + due + MARGIN:
                bench.record("gave_up", attempts=seen, quiet=now - quiet_since)
                break
            enough = ENOUGH if most is None else most + BEYOND
            if seen >= enough or now > since + restart.observe:
                bench.record("went_on", attempts=seen, enough=seen >= enough)
                break
        record_description(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "while_restarting"}


@dataclass(frozen=True, kw_only=True)
class WhileNobodyServes:
    """For as long as a client waits, and some seconds more; then successors may live, and it may recover."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on; records `nobody` at the end of that time."""
        restart = bench.target.policy.restart
        fastest = min((r.duration for r in bench.requests_in_load()), default=0.0)
        until = since + restart.answer_within + fastest + NOBODY
        record_description(bench)
        while time.monotonic() < until:
            if (status := bench.running.wait_exit(until=until)) is not None:
                bench.record("nobody", t=status.time, living=[])
                record_exit(bench, status, since=status.time)
                return
        bench.record("nobody", living=living_workers(bench))
        record_description(bench)
        _let_them_live(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "while_nobody_serves"}


@dataclass(frozen=True, kw_only=True)
class UntilItGivesUp:
    """A start at which no worker comes up: until it has ended, or its start-up deadline is over."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the launch on; records `at_deadline` with what it says of itself then."""
        until = bench.running.started + max(bench.target.start_deadline, bench.target.policy.restart.observe)
        while time.monotonic() < until:
            if (status := bench.running.wait_exit(until=until)) is not None:
                record_exit(bench, status, since=since)
                return
        record_description(bench)
        record_serving(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_it_gives_up"}
