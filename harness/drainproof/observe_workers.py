"""Observers of what a supervisor does about its workers: replaces them, tries again and again, gives up.

They only look, and record what they see; what follows from it is for `evidence/workers.py`. The births and deaths are
recorded by the watch, the answers to clients by the load.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.faults.bench import Bench
from drainproof.faults.finding import FoundWorkers, record_description
from drainproof.faults.reading import held_by
from drainproof.observe import MARGIN, record_exit, record_serving
from drainproof.probes.kin import Kin
from drainproof.target.tree import read_stat

LATE = 1.0
"""Seconds by which an attempt may come late beyond its tolerance: a supervisor looks from time to time, and the machine
is busy."""

OFTEN = 0.03
"""Seconds between two looks at who owns connections, which may be over soon."""

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


def _let_them_live(bench: Bench) -> None:
    if bench.executioner_ends is not None:
        bench.executioner_ends()
        bench.record("spared")


class _Replacements:
    """Which of the workers that are new are up: alive is not enough, a worker that loads its model serves nobody yet.

    One is up when it has been seen to own the server's end of a connection. Where none of the workers ever does (a
    process in front of them owns all), and where the kernel gives new connections to the others, it is up when it has
    lived for as long as the whole target usually takes to become ready; and where it is the only one, when a real
    request succeeds.
    """

    def __init__(self, bench: Bench) -> None:
        assert bench.workers_found is not None
        self._bench = bench
        self._old = set(bench.workers_found.pids)
        self._wanted = len(bench.workers_found.pids)
        self._since: dict[int, float] = {}
        self._seen: set[int] = set()

    def look(self) -> bool:
        """Whether as many workers live as before, and all of them are up."""
        living = living_workers(self._bench)
        new = [pid for pid in living if pid not in self._old]
        now = time.monotonic()
        for pid in new:
            self._since.setdefault(pid, now)
        if unseen := tuple(pid for pid in new if pid not in self._seen):
            self._seen |= {pid for pid, ports in held_by(self._bench, unseen).items() if ports}
        if len(living) < self._wanted:
            return False
        usual = self._bench.usual_start() if new else 0.0
        return len(living) == 1 or all(pid in self._seen or now > self._since[pid] + usual for pid in new)

    def to_json(self) -> dict[str, Any]:
        """JSON values: who is new, and who of them was seen to serve."""
        return {"new": sorted(self._since), "seen_to_serve": sorted(self._seen)}


@dataclass(frozen=True, kw_only=True)
class UntilRecovered:
    """Until as many workers are up as before and a real request succeeds, or the declared time for that is over.

    And until what was in flight at the fault has ended, or its client has waited for longer than `answer_within`.
    """

    attempts: int = 0
    """So many attempts are made to fail before one may succeed: the declared delays before them count."""

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the moment `since` of the last fault on; records `recovered`."""
        restart = bench.target.policy.restart
        longest = max((r.duration for r in bench.requests_in_load() if r.duration != float("inf")), default=0.0)
        allowed = restart.recovers_within(bench.target.start_deadline)
        allowed += sum(restart.delays(self.attempts + 1)) * (1 + restart.tolerance) if self.attempts else 0.0
        if restart.most_attempts() == 0:
            allowed = 0.0  # nobody comes
        patience, answered = since + allowed + MARGIN, since + restart.answer_within + longest + MARGIN
        waiting, replacements = _in_flight(bench), _Replacements(bench)
        recovered = False
        while time.monotonic() < (answered if recovered else max(patience, answered)):
            if (status := bench.running.wait_exit(until=time.monotonic() + OFTEN)) is not None:
                record_exit(bench, status, since=since)
                return
            if not recovered and replacements.look():
                recovered = record_serving(bench)
                if recovered:
                    bench.record("recovered", workers=living_workers(bench), **replacements.to_json())
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
        if _watch_attempts(bench, since=since):
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
    """A start at which no worker comes up: until it has ended, or makes no further attempt.

    The workers are recognised by `[workers] command`, since none of them ever serves. Without that, until the start-up
    deadline is over.
    """

    def observe(self, bench: Bench, *, since: float) -> None:
        """Looks from the launch on; records `gave_up` or `went_on` and, where it lives, what it says of itself then."""
        pattern = bench.target.workers_are.command
        if pattern is not None:
            kin = Kin(main=bench.running.pid, pattern=pattern)
            bench.workers_found = FoundWorkers(pids=(), kin=kin, how="the command line that [workers] command names")
            if not _watch_attempts(bench, since=since, first=bench.workers):
                return
        else:
            until = bench.running.started + bench.target.start_deadline
            if (status := bench.running.wait_exit(until=until)) is not None:
                record_exit(bench, status, since=since)
                return
        record_description(bench)
        record_serving(bench)

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "until_it_gives_up"}


def _watch_attempts(bench: Bench, *, since: float, first: int = 0) -> bool:
    """Watches until attempts have ended; False where the target has. `first`: so many are no restarts."""
    restart = bench.target.policy.restart
    most = restart.most_attempts()
    seen, quiet_since = 0, since
    while True:
        now = time.monotonic()
        if (status := bench.running.wait_exit(until=now + OFTEN)) is not None:
            record_exit(bench, status, since=status.time)
            return False
        busy = len(living_workers(bench)) > (0 if first else len(_untouched(bench)))
        if (count := len(successors(bench))) > seen or busy:
            seen, quiet_since = count, time.monotonic()
        delays = restart.delays((seen if not first else seen // first) + 1)
        due = delays[-1] * (1 + restart.tolerance) + LATE if delays else QUIET
        if seen >= first and now > quiet_since + due + MARGIN:
            bench.record("gave_up", attempts=seen, quiet=now - quiet_since)
            return True
        enough = ENOUGH if most is None else most + BEYOND
        if seen >= enough * max(1, first) + first or now > since + restart.observe:
            bench.record("went_on", attempts=seen, enough=now <= since + restart.observe)
            return True


def _untouched(bench: Bench) -> list[int]:
    """The workers that were there from the beginning and still live."""
    assert bench.workers_found is not None
    return [pid for pid in living_workers(bench) if pid in bench.workers_found.pids]
