"""The rules that several DRAIN scenarios hold their evidence to."""

from __future__ import annotations

from drainproof.evidence import Judged, RequestSet
from drainproof.evidence.requests import LOST, RACE
from drainproof.scenario import Evidence, Inconclusive

from drainproof_scenarios._facts import Facts, exit_facts, rounded

FAILED_AFTER = ("wrong", "dropped", "cut", "hung")
"""What must not happen to a request that arrives after the signal."""

EARLIEST_ANSWER = 0.8
"""A server is taken to compose an answer no earlier than this share of the declared duration after the request left."""


def accepted_are_answered(evidence: Evidence, facts: Facts, *, at_least: int, streams: tuple[str, ...] = ("",)) -> None:
    """DRAIN-1: what was accepted before the signal gets its complete and right answer."""
    evidence.require(accepted_at_signal=at_least)
    just_now = evidence.fault["t"] - RACE
    accepted = evidence.requests.accepted().stream(*streams)
    # Read from the socket is not yet seen by a handler: what had just come may be turned away like what comes later.
    turned_away = accepted.fate("unavailable").where(lambda j: j.record.sent is not None and j.record.sent > just_now)
    accepted = accepted.where(lambda j: j not in set(turned_away))
    lost = accepted.not_answered()
    facts(
        accepted_before_signal=len(accepted),
        answered=len(accepted) - len(lost),
        lost=len(lost),
        fates=accepted.fates(),
        turned_away_with_503=len(turned_away),
        **exit_facts(evidence),
    )
    what = the_fault(evidence)
    facts.summary(f"all {len(accepted)} requests that were accepted before {what} got their right answer")
    facts.details("\n".join(lost.lines()))
    if not accepted:
        raise Inconclusive("every accepted request had just come and was turned away with a 503")
    if lost and len(lost.fate("unfinished")) == len(lost):
        raise Inconclusive(f"requests that were accepted before {what} were not finished when the observation ended")
    if lost and len(lost.fate("wrong")) == len(lost) and evidence.requests.before().fate("wrong"):
        raise Inconclusive("it answers such requests wrongly without a signal as well")
    assert not lost, f"{len(lost)} of {len(accepted)} requests that were accepted before {what} got no right answer"


def later_ones_are_treated_well(evidence: Evidence, facts: Facts) -> None:
    """DRAIN-2: what arrives after the signal is served, answered 503 or refused."""
    evidence.require()
    later = evidence.requests.arrived_after()
    if not later:
        raise Inconclusive("no request arrived between the signal and the end")
    bad = later.fate(*FAILED_AFTER)  # type: ignore[arg-type]
    fates = later.fates()
    kept_waiting = evidence.requests.kept_waiting().where(lambda j: j.fate in LOST)
    facts(
        arrived_after_signal=len(later),
        failed=len(bad),
        served=fates.get("right", 0),
        answered_503=fates.get("unavailable", 0),
        refused=fates.get("refused", 0),
        lost_in_accept_queue=fates.get("backlog", 0),
        lost_crossing_a_close=fates.get("crossing", 0),
        accepted_unread_and_lost=len(kept_waiting),
    )
    crossing, queued = fates.get("crossing", 0), fates.get("backlog", 0)
    races = f", but for {crossing + queued} that a closing connection or queue took along" if crossing or queued else ""
    facts.summary(f"each of {len(later)} later requests was served, answered 503 or refused{races}")
    facts.details("\n".join(bad.lines() + kept_waiting.lines()))
    assert not kept_waiting, f"{len(kept_waiting)} requests waited unread on accepted connections and were dropped"
    assert not bad, f"{len(bad)} of {len(later)} requests that arrived after the signal were {_worst(bad)}"


def the_fault(evidence: Evidence) -> str:
    """The first fault in words: most are signals."""
    if evidence.fault["kind"] == "console_event":
        return f"{evidence.fault['console_event']} (emulated)"
    return "the signal" if evidence.fault["kind"] == "signal" else "the fault"


def _worst(bad: RequestSet) -> str:
    words = {"wrong": "answered wrongly", "dropped": "accepted and dropped", "cut": "cut off", "hung": "left hanging"}
    fates = bad.fates()
    if len(fates) == 1:
        return words[next(iter(fates))]
    return ", ".join(f"{words[fate]} ({count})" for fate, count in fates.items())


def exits_in_grace(evidence: Evidence, facts: Facts) -> None:
    """The exit comes within the grace period, and what outlives it does no work any more."""
    grace = evidence.policy.grace_period
    facts(**exit_facts(evidence), grace_period_s=grace)
    facts.summary(
        f"it was gone {rounded(evidence.exit_after)} s after {the_fault(evidence)}; the grace period is {grace:g} s"
    )
    told = [str(evidence.fault["because"])] if evidence.exit is None else []
    facts.details("\n".join([*told, *evidence.output.tail(5, until=evidence.observed_until)]))
    assert evidence.exit_after is not None, f"it was still alive when its grace period of {grace:g} s was over"
    assert evidence.exit_after <= grace, f"it took {evidence.exit_after:.1f} s to end; its grace period is {grace:g} s"
    works = evidence.still_works()
    facts(survivors=len(evidence.survivors))
    assert works is None, f"its main process ended, but {len(evidence.survivors)} processes of it {works}"


def drain_began(evidence: Evidence) -> float:
    """When the drain was visible from outside: listener closed, or readiness negative (the latest possible moment).

    Raises Inconclusive where neither was seen.
    """
    t = evidence.fault["t"]
    negative = evidence.history.first_negative(path=evidence.target.readiness, after=t)
    seen = [change.latest for change in (evidence.listener_closed, negative) if change is not None]
    if not seen:
        raise Inconclusive("it was never seen to drain: its listener stayed open and it stayed ready")
    return min(seen)


def last_answers_of_connections(evidence: Evidence, *, after: float) -> list[Judged]:
    """The last answer on each keep-alive connection, where the server composed it after the moment `after`."""
    streams = {s["name"] for s in evidence.experiment["load"] if s.get("connections") == "reuse"}
    last: dict[tuple[int | None, float | None], Judged] = {}
    opened: dict[int | None, float | None] = {}
    for judged in sorted(evidence.requests.stream(*streams), key=lambda j: j.record.end) if streams else ():
        record = judged.record
        if not record.reused:
            opened[record.port] = record.connect_start
        if record.answered:  # a request that was lost on the connection is what the missing notice leads to
            last[record.port, opened.get(record.port)] = judged
    return [judged for judged in last.values() if composed_after(judged, after)]


def composed_after(judged: Judged, moment: float) -> bool:
    """Whether the server composed this answer after `moment` for certain (the client may have read it much later)."""
    record = judged.record
    if not record.answered or record.sent is None or record.first_byte is None:
        return False
    return record.first_byte > moment and record.sent + EARLIEST_ANSWER * judged.duration > moment
