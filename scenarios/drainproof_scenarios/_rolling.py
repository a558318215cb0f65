"""What a rolling restart did to the requests and the sessions of clients. Functions of the evidence alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from drainproof.evidence import RequestSet
from drainproof.fleet import probe_of
from drainproof.load.ledger import RequestRecord
from drainproof.probes.balancer import PROBE
from drainproof.probes.history import State
from drainproof.scenario import Evidence, Inconclusive
from drainproof.target.balancer import NO_SERVER

LATE_AFTER = 5
"""Health checks that the balancer may be late to see what every client can see, before it is what was starved."""

TIMEOUTS = ("L4TOUT", "L6TOUT", "L7TOUT")
"""How health checks end that nobody answered in time."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The restart of one server. Moments are CLOCK_MONOTONIC seconds."""

    server: str
    t: float
    """The stop signal."""
    until: float
    """When the balancer was seen to send requests there again; infinity where it was not."""
    killed: bool
    """It was still there when its grace period was over."""
    gone: float | None
    not_back: str | None
    """Why the new instance did not come up."""

    def covers(self, begin: float, end: float) -> bool:
        """Whether some of that time lies in the restart."""
        return begin <= self.until and end >= self.t


@dataclass(frozen=True, kw_only=True)
class Move:
    """A session that got an answer from another server than the time before."""

    session: int
    before: str
    after: str
    t: float
    restarting: bool
    """The server that it left was being restarted."""

    def __str__(self) -> str:
        why = "which was being restarted" if self.restarting else "which was up"
        return f"session {self.session} went from {self.before}, {why}, to {self.after}"


def steps(evidence: Evidence) -> list[Step]:
    """The restarts, in order."""
    return [
        Step(
            server=step["server"],
            t=float(step["t"]),
            until=float(step.get("seen_up", "inf")),
            killed=bool(step.get("killed")),
            gone=step.get("gone"),
            not_back=step.get("not_back"),
        )
        for step in evidence.fault["steps"]
    ]


def lost(evidence: Evidence) -> RequestSet:
    """What ended after the first stop signal without its right answer. Of a 503, no client cares who has sent it."""
    begin = float(evidence.fault["t"])
    return evidence.requests.where(lambda j: j.record.end > begin and j.fate not in ("right", "unfinished"))


def how(losses: RequestSet) -> dict[str, int]:
    """How they were lost, and on which server as far as that is known; most frequent first."""
    return dict(Counter(_how(judged.record) for judged in losses).most_common())


def _how(record: RequestRecord) -> str:
    what = f"{record.cause} while {record.phase}" if record.cause else f"status {record.status}"
    if record.cause is None and record.status is not None and record.status < 400:
        what = str(record.wrong)
    if record.answered_by == NO_SERVER:
        return f"{what}, no server was in rotation"
    return what + (f" of server {record.answered_by}" if record.answered_by else "")


def doubts(evidence: Evidence) -> list[str]:
    """What says that the balancer, and not the target, may be the reason for a loss: a machine that was too busy."""
    every = float(evidence.experiment["behind"]["check_every"])
    found = []
    for step in steps(evidence):
        seen = _first_down(evidence, step)
        negative = evidence.history.first_negative(
            path=evidence.target.readiness, after=step.t, probe=probe_of("readiness", step.server)
        )
        if seen is not None and negative is not None:
            late = seen.first.earliest - negative.latest
            if late > LATE_AFTER * every:
                found.append(f"it took the balancer {late:.2f} s to see that server {step.server} was not ready")
    for server, state in out_of_rotation(evidence):
        if state.value.get("check") in TIMEOUTS:
            found.append(f"the balancer took server {server} out because a health check had no answer in time")
    return found


def out_of_rotation(evidence: Evidence) -> list[tuple[str, State]]:
    """When the balancer had a server out of rotation that was not being restarted: the server, and what was seen."""
    restarts = steps(evidence)
    return [
        (server, state)
        for server in evidence.experiment["behind"].get("servers", [step.server for step in restarts])
        for state in evidence.history.states(probe=PROBE, key=server)
        if not state.value["up"]
        and not any(r.server == server and r.covers(state.first.earliest, state.last.latest) for r in restarts)
    ]


def _first_down(evidence: Evidence, step: Step) -> State | None:
    states = evidence.history.states(probe=PROBE, key=step.server)
    return next((s for s in states if not s.value["up"] and s.last.latest > step.t), None)


def moves(evidence: Evidence, stream: str) -> list[Move]:
    """Each change of the server within a session, in order. A request that nobody answered rightly changes nothing."""
    return moves_of((judged.record for judged in evidence.requests.stream(stream)), steps(evidence))


def moves_of(records: Iterable[RequestRecord], restarts: Iterable[Step]) -> list[Move]:
    """See `moves`. A move is excused where the request that made it overlaps the restart of the server it has left."""
    restarts = list(restarts)
    last: dict[int, str] = {}
    found = []
    for record in sorted(records, key=lambda record: record.id):
        if record.session is None or record.answered_by is None or not record.right:
            continue
        before = last.get(record.session)
        last[record.session] = record.answered_by
        if before is None or before == record.answered_by:
            continue
        begin = record.send_start if record.send_start is not None else record.due
        restarting = any(step.server == before and step.covers(begin, record.end) for step in restarts)
        found.append(
            Move(session=record.session, before=before, after=record.answered_by, t=begin, restarting=restarting)
        )
    return found


def sessions_on(evidence: Evidence, stream: str, moment: float) -> dict[str, set[int]]:
    """The sessions by the server that had answered them last at a moment."""
    last: dict[int, str] = {}
    for judged in sorted(evidence.requests.stream(stream), key=lambda judged: judged.record.id):
        record = judged.record
        if record.end <= moment and record.session is not None and record.answered_by and record.right:
            last[record.session] = record.answered_by
    found: dict[str, set[int]] = {}
    for session, server in last.items():
        found.setdefault(server, set()).add(session)
    return found


def require_sound(evidence: Evidence, losses: RequestSet) -> None:
    """Raises Inconclusive where a loss may not be the target's doing."""
    begin = float(evidence.fault["t"])
    earlier = evidence.requests.where(
        lambda j: j.record.end <= begin and j.fate == "wrong" and j.record.answered_by != NO_SERVER
    )
    if losses and earlier:
        raise Inconclusive(f"{len(earlier)} requests were answered wrongly before the first stop signal as well")
    if losses and (why := doubts(evidence)):
        raise Inconclusive(f"requests were lost, but {why[0]}: this machine was too busy")


def restart_facts(evidence: Evidence) -> dict[str, Any]:
    """How long each restart took, by server."""
    done = steps(evidence)
    return {
        "restart_s": {s.server: round(s.until - s.t, 3) for s in done if s.until != float("inf")},
        "in_hand_at_signal": {s["server"]: s["in_hand"] for s in evidence.fault["steps"]},
        **({"killed": [s.server for s in done if s.killed]} if any(s.killed for s in done) else {}),
    }
