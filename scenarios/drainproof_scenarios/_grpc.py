"""The rules that the gRPC scenarios hold their evidence to."""

from __future__ import annotations

from drainproof.evidence import Judged, RequestSet
from drainproof.evidence.requests import CANCELLED, LOST, RACE
from drainproof.scenario import Evidence, Inconclusive

from drainproof_scenarios._drain import FAILED_AFTER
from drainproof_scenarios._facts import Facts, rounded


def calls_in_flight_complete(evidence: Evidence, facts: Facts, *, at_least: int) -> None:
    """DRAIN-12: a call that was accepted before the signal is answered rightly, and HTTP requests are so as well."""
    evidence.require()
    lost: dict[str, RequestSet] = {}
    for name, protocol in (("http", "HTTP"), ("grpc", "gRPC")):
        requests = evidence.requests.protocol(name)  # type: ignore[arg-type]
        if (read := len(requests.accepted())) < at_least:
            text = f"{at_least} {protocol} requests accepted and read by the server, there were {read}"
            raise Inconclusive(f"at the moment of the fault the check needs {text}")
        accepted = _accepted(evidence, requests)
        if not accepted:
            raise Inconclusive(f"every accepted {protocol} request had just come and was turned away")
        lost[protocol] = accepted.not_answered()
        last = accepted.last_answer()
        facts(**{
            f"{name}_accepted": len(accepted),
            f"{name}_lost": len(lost[protocol]),
            f"{name}_fates": accepted.fates(),
            f"{name}_last_answer_after_s": None if last is None else rounded(last - evidence.fault["t"]),
        })  # fmt: skip
    facts.details("\n".join(lost["gRPC"].lines() + lost["HTTP"].lines()))
    facts.summary("every HTTP request and every gRPC call that was accepted before the signal got its right answer")
    everything = [*lost["gRPC"], *lost["HTTP"]]
    if everything and all(j.fate == "unfinished" for j in everything):
        raise Inconclusive("requests that were accepted before the signal were not finished when the observation ended")
    assert not lost["gRPC"], (
        f"{len(lost['gRPC'])} gRPC calls that were accepted before the signal got no right answer"
        + (", while HTTP requests got theirs" if not lost["HTTP"] else "")
    )
    assert not lost["HTTP"], (
        f"{len(lost['HTTP'])} HTTP requests that were accepted before the signal got no right answer, "
        "while gRPC calls got theirs"
    )


def _accepted(evidence: Evidence, requests: RequestSet) -> RequestSet:
    """Those that the application had seen, as far as that can be told.

    A server's gRPC library reads a call from the socket by itself, long before its handler is called on a busy machine,
    and turns it away by itself when it is stopped. So one that was turned away counts only if a call that left later
    had been answered before the signal, and if it had not just come.
    """
    t = evidence.fault["t"]
    answered = (j.record.sent for j in requests.before().fate("right") if j.record.sent is not None)
    seen = min(max(answered, default=0.0), t - RACE)
    return requests.accepted().where(lambda j: not _turned_away(j) or (j.record.sent or t) <= seen)


def _turned_away(judged: Judged) -> bool:
    record = judged.record
    cancelled = record.status == CANCELLED and record.close_announced and not record.messages
    return judged.fate in ("unavailable", "crossing", "refused") or (record.protocol == "grpc" and cancelled)


def later_calls_are_turned_away(evidence: Evidence, facts: Facts) -> None:
    """DRAIN-12: a call that comes after the signal is served, or turned away so that the client may ask elsewhere."""
    evidence.require()
    calls = evidence.requests.protocol("grpc")
    later = calls.arrived_after()
    if not later:
        raise Inconclusive("no gRPC call was made between the signal and the end")
    bad = later.fate(*FAILED_AFTER)  # type: ignore[arg-type]
    kept_waiting = calls.kept_waiting().where(lambda j: j.fate in LOST)
    fates = later.fates()
    facts(
        calls_after_signal=len(later),
        failed=len(bad),
        served=fates.get("right", 0),
        answered_unavailable=fates.get("unavailable", 0),
        refused=fates.get("refused", 0),
        lost_crossing_a_close=fates.get("crossing", 0) + fates.get("backlog", 0),
        accepted_unread_and_lost=len(kept_waiting),
    )
    facts.details("\n".join(bad.lines() + kept_waiting.lines()))
    facts.summary(f"each of {len(later)} later calls was served, answered UNAVAILABLE or refused")
    assert not kept_waiting, f"{len(kept_waiting)} calls waited unread on accepted connections and were dropped"
    assert not bad, f"{len(bad)} of {len(later)} calls that were made after the signal were neither served nor refused"


def ends_as_declared(evidence: Evidence, facts: Facts) -> None:
    """DRAIN-11: a stream that is in progress goes on to its end, or is ended by its protocol's own end."""
    evidence.require()
    t = evidence.fault["t"]
    policy = evidence.policy.streams
    running = evidence.requests.accepted().where(
        lambda j: j.record.first_byte is not None and j.record.first_byte < t < j.record.end
    )
    if not running:
        raise Inconclusive("no stream was in progress when the signal came")
    complete = running.fate("right")
    ended = running.where(lambda j: j.record.answered and not j.record.torn)
    good = complete if policy == "complete" else ended
    bad = running.where(lambda j: j not in set(good))
    facts(
        streams_in_progress=len(running),
        complete=len(complete),
        ended_early_by_the_protocol=len(ended) - len(complete),
        broken_off=len(running) - len(ended),
        within_a_message=sum(j.record.torn for j in running),
        policy=policy,
    )
    facts.details("\n".join(bad.lines()))
    facts.summary(
        f"each of {len(running)} streams in progress " + ("was complete" if policy == "complete" else "ended")
    )
    if bad and all(j.fate == "unfinished" for j in bad):
        raise Inconclusive("streams in progress were not finished when the observation ended")
    what = "complete" if policy == "complete" else "ended by their protocol's own end"
    assert not bad, f"{len(bad)} of {len(running)} streams that were in progress were not {what}"
