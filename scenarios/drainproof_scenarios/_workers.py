"""The rules that several WORK scenarios hold their evidence to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from drainproof.evidence import Judged, RequestSet
from drainproof.evidence.lives import Attempt, Life, attempts, side_by_side
from drainproof.evidence.requests import RACE
from drainproof.probes.history import is_positive
from drainproof.scenario import Evidence, Inconclusive, Unsupported
from drainproof.target.values import find_value

from drainproof_scenarios._facts import Facts, rounded

BROKEN = ("dropped", "cut", "crossing", "backlog")
"""The connection ended, and no answer had come."""

NEGATIVE_WITHIN = 1.0
"""Seconds that readiness may take to turn negative, as when a server drains (DRAIN-5)."""

LIVED = 1.0
"""Seconds after which a successor that should have been killed at its birth may have served somebody."""

MARGIN = 0.5
"""Seconds by which a declared time is passed before it counts as broken."""


# Who died


def killing(evidence: Evidence) -> Mapping[str, Any]:
    """The proof of the fault that ended (or stopped) workers. Raises Inconclusive where there was none."""
    kinds = ("worker_killed", "worker_stopped")
    found = next((proof for proof in evidence.faults if proof["kind"] in kinds), None)
    if found is None:
        raise Inconclusive("no worker was killed")
    return found


def last_death(evidence: Evidence) -> float:
    """When the last of the victims had died."""
    return max(float(victim["died"]) for victim in killing(evidence)["victims"])


def successors(evidence: Evidence) -> tuple[Life, ...]:
    """The workers that were born after the first death."""
    proof = killing(evidence)
    return tuple(life for life in evidence.lives.born_after(float(proof["t"])) if life.pid not in proof["workers"])


def owns_connections(evidence: Evidence) -> bool:
    """Whether workers own the connections of clients; else somebody in front of them does."""
    return any(killing(evidence)["held"].values())


def ports_of_victims(evidence: Evidence) -> set[int]:
    """The client ports of the connections that the victims alone owned."""
    proof = killing(evidence)
    victims = {str(victim["pid"]) for victim in proof["victims"]}
    others = {port for pid, ports in proof["held"].items() if pid not in victims for port in ports}
    return {port for pid in victims for port in proof["held"].get(pid, ())} - others


# What clients got


def waited(evidence: Evidence, judged: Judged, since: float) -> float:
    """Seconds that a client waited for this request while workers were down, its own duration left out."""
    begun = judged.record.send_start if judged.record.send_start is not None else judged.record.due
    return judged.record.end - max(begun, since) - min(judged.duration, 1e6)


def no_answer(evidence: Evidence, requests: RequestSet, since: float) -> RequestSet:
    """The class *no answer*: longer without an answer than `policy.restart.answer_within`, whatever came in the end."""
    bound = evidence.policy.restart.answer_within + MARGIN
    return requests.where(lambda j: waited(evidence, j, since) > bound)


def requests_on_it_are_answered(evidence: Evidence, facts: Facts) -> None:
    """WORK-2: what was in flight on the worker is answered, or its connection ends with the worker that owned it."""
    evidence.require(accepted_at_signal=1)
    t, accepted = float(killing(evidence)["t"]), evidence.requests.accepted()
    owned = owns_connections(evidence)
    ports = ports_of_victims(evidence)
    on_it = accepted.where(lambda j: j.record.port in ports) if owned else accepted
    silent = no_answer(evidence, on_it, t)
    broken = on_it.fate(*BROKEN).where(lambda j: j not in set(silent))  # type: ignore[arg-type]
    young = on_it.fate("unfinished").where(lambda j: j not in set(silent))
    answered = len(on_it) - len(silent) - len(broken) - len(young)
    twice = _executed_twice(evidence)
    facts(
        in_flight_on_it=len(on_it),
        answered=answered,
        no_answer=len(silent),
        connection_ended=len(broken),
        fates=on_it.fates(),
        statuses=dict(Counter(str(j.record.status) for j in on_it if j.record.answered)),
        client_waits_s=evidence.policy.restart.answer_within,
        who_owns_the_connections="the workers" if owned else "a process in front of them",
        **({} if twice is None else {"executed_twice": len(twice)}),
    )
    facts.summary(f"of {len(on_it)} requests in flight {answered} were answered, {len(broken)} ended with their worker")
    facts.details("\n".join(silent.lines() + ([] if owned else broken.lines())))
    if not on_it:
        raise Inconclusive("no request was in flight on the worker")
    assert not silent, (
        f"{len(silent)} of {len(on_it)} requests in flight got no answer within "
        f"{evidence.policy.restart.answer_within:g} s"
    )
    assert owned or not broken, (
        f"{len(broken)} of {len(on_it)} requests lost their connection without an answer, although the process that "
        "owned it lived"
    )
    harmful = {r.name for r in evidence.target.requests if not r.safe_to_repeat}
    hurt = [j for j in twice or () if j.record.request in harmful]
    assert not hurt, f"{len(hurt)} requests that are not safe to repeat were executed twice"
    if not answered and not broken:
        raise Inconclusive("the requests in flight had not ended when the observation did")


def _executed_twice(evidence: Evidence) -> list[Judged] | None:
    """The requests that were executed more than once by the target's own account; None where it gives none."""
    pattern = evidence.target.workers_are.executed
    if pattern is None:
        return None
    counts = Counter(
        found.group("token") for text in evidence.output.texts() if (found := re.search(pattern, text)) is not None
    )
    return [j for j in evidence.requests if counts[j.record.token] > 1]


def _sent_before(judged: Judged, t: float) -> bool:
    return judged.record.sent is not None and judged.record.sent <= t


def others_are_untouched(evidence: Evidence, facts: Facts) -> None:
    """WORK-3: what was in flight on other workers, and what came later, gets its right answer."""
    evidence.require()
    if evidence.workers < 2:
        raise Unsupported("one worker: there are no others")
    proof = killing(evidence)
    if len(proof["workers"]) < 2:
        raise Inconclusive(f"{evidence.workers} workers are declared and one was found: there are no others")
    t, ports = float(proof["t"]), ports_of_victims(evidence)
    held = {port for ports in proof["held"].values() for port in ports} - ports
    # What a worker owns it has accepted. The socket table was read a little before the owners were, on a busy machine
    # long enough for all that it shows to be answered.
    on_others = evidence.requests.in_flight().where(lambda j: j.record.port in held and _sent_before(j, t))
    until = float(proof.get("until", t))
    # What a worker holds while it stands still waits; a new connection is for the others to take.
    later = evidence.requests.arrived_after().where(
        lambda j: _begun(j) > t + RACE and not j.record.reused and (until == t or _begun(j) < until)
    )
    if until > t:  # a worker that only stands still may have accepted what came in the same moment
        later = later.where(lambda j: j.record.sent is None or _begun(j) > t + 2 * RACE)
    bad = on_others.not_answered().fate("wrong", "unavailable", "hung", *BROKEN)  # type: ignore[arg-type]
    bad_later = later.not_answered().where(lambda j: j.fate != "unfinished")
    facts(
        in_flight_on_others=len(on_others),
        not_right=len(bad),
        arrived_later=len(later),
        later_not_right=len(bad_later),
        fates=on_others.fates(),
    )
    facts.summary(f"{len(on_others)} requests in flight on other workers and {len(later)} later ones were answered")
    facts.details("\n".join(bad.lines() + bad_later.lines()))
    assert not bad, f"{len(bad)} of {len(on_others)} requests in flight on other workers got no right answer"
    assert not bad_later, f"{len(bad_later)} of {len(later)} requests that came later got no right answer"
    if owns_connections(evidence) and not on_others:
        raise Inconclusive("no request was in flight on another worker")
    if not later and not on_others:
        raise Inconclusive("no request arrived after the fault")


def _begun(judged: Judged) -> float:
    record = judged.record
    return record.connect_start if record.connect_start is not None else (record.send_start or record.due)


# What the supervisor did


def is_replaced(evidence: Evidence, facts: Facts, *, failing: int = 0) -> None:
    """WORK-1: as many workers as before, and a real request succeeds, within the declared time.

    `failing`: so many attempts were made to fail first; the declared delays before them come on top.
    """
    evidence.require()
    restart, died = evidence.policy.restart, last_death(evidence)
    if restart.most_attempts() == 0:
        raise Unsupported("the policy declares that no worker is replaced: [policy.restart] max_restarts = 0")
    allowed = restart.recovers_within(evidence.target.start_deadline)
    allowed += sum(restart.delays(failing + 1)) * (1 + restart.tolerance) if failing else 0.0
    recovered, born = evidence.find("recovered"), successors(evidence)
    looks = evidence.all("serving_after_fault")
    last = looks[-1] if looks else None
    facts(
        recovered_after_s=None if recovered is None else rounded(float(recovered["t"]) - died),
        declared_s=rounded(allowed),
        workers_born=len(born),
        first_born_after_s=rounded(born[0].born - died) if born else None,
        exit_status=evidence.exit and evidence.exit.status,
        readiness=dict(last["readiness"]) if last else None,
        served_at_last=last["serving"] if last else None,
    )
    facts.details("\n".join(evidence.output.tail(8, until=evidence.observed_until)))
    assert evidence.exit is None, "the whole server ended because a worker died"
    if recovered is None:
        assert born, f"the dead worker was not replaced within {allowed:.1f} s"
        assert last is None or last["serving"], (
            f"{len(born)} workers were started after the death, and after {allowed:.1f} s no real request succeeded"
        )
        raise AssertionError(f"after {allowed:.1f} s fewer workers lived than before")
    took = float(recovered["t"]) - died
    facts.summary(f"a worker that died was replaced, and a real request succeeded {took:.1f} s later")
    assert took <= allowed + MARGIN, (
        f"it took {took:.1f} s to serve again with all workers; declared are {allowed:.1f} s"
    )


def observed_attempts(evidence: Evidence) -> list[Attempt]:
    """The attempts at a restart after the death of one worker."""
    proof = killing(evidence)
    seen = [life.died for life in evidence.lives.of(v["pid"] for v in proof["victims"]) if life.died is not None]
    return attempts(
        killed=float(proof["t"]),
        died=min([last_death(evidence), *seen]),
        successors=successors(evidence),
        restart=evidence.policy.restart,
        blind=evidence.lives.blind,
    )


def follows_its_schedule(evidence: Evidence, facts: Facts, *, limit: bool = True) -> None:
    """WORK-4: each attempt comes when the declared schedule wants it, and none beyond its limit."""
    evidence.require()
    restart = evidence.policy.restart
    if restart.schedule is None:
        raise Unsupported('no schedule of restarts is declared: [policy.restart] schedule = "doubling", for example')
    found = observed_attempts(evidence)
    _watched(evidence)
    most = restart.most_attempts()
    facts(
        attempts=len(found),
        observed_s=[rounded(each.observed) for each in found],
        declared_s=[each.declared for each in found],
        schedule=restart.name,
        most_attempts=most,
        tolerance=restart.tolerance,
    )
    facts.summary(f"{len(found)} attempts followed {restart.name}")
    facts.details("\n".join(side_by_side(found)))
    off = [each for each in (found if most is None else found[:most]) if each.off]
    assert not off, (
        f"attempt {off[0].number} came {off[0].off}: {off[0].observed:.2f} s after the failure, declared are "
        f"{off[0].declared:g} s ({restart.name})"
    )
    assert not limit or most is None or len(found) <= most, (
        f"{len(found)} attempts were made, the declared limit is {most}"
    )
    if not found and most != 0:
        raise Inconclusive("no attempt at a restart was seen")


def _watched(evidence: Evidence) -> None:
    """Raises Inconclusive where a process could have come and gone unseen for too long."""
    watched = evidence.find("watched")
    if watched is None or float(watched["worst_gap"]) > 2.0:
        raise Inconclusive("this machine was too busy to see every birth")


def stops_trying(evidence: Evidence, facts: Facts, *, first: int = 0) -> None:
    """WORK-5: attempts stop at the limit. `first`: how many of them are the first starts of workers."""
    evidence.require()
    restart = evidence.policy.restart
    most = restart.most_attempts()
    if not restart.limited or most is None:
        raise Unsupported(
            "no limit of restarts is declared: [policy.restart] max_restarts, or max_seconds with a schedule"
        )
    _watched(evidence)
    if first and evidence.lives.kin is None:
        raise Unsupported("no worker ever serves, so it takes their command line to count them: [workers] command")
    made = len(evidence.lives.workers) if first else len(successors(evidence))
    allowed = first * (1 + most) if first else most
    gave_up, went_on = evidence.find("gave_up"), evidence.find("went_on")
    facts(
        attempts=made,
        most_attempts=allowed,
        gave_up_after_s=None if gave_up is None else rounded(float(gave_up["t"]) - float(evidence.fault["t"])),
        exit_status=evidence.exit and evidence.exit.status,
    )
    if not first:
        facts.details("\n".join(side_by_side(observed_attempts(evidence))))
    facts.summary(f"{made} attempts were made, {allowed} are the limit")
    assert made <= allowed, f"{made} attempts were made, and the declared limit is {allowed}"
    if evidence.exit is None and gave_up is None and (went_on is not None or not first):
        raise Inconclusive(
            f"it had made {made} attempts when the observation ended: [policy.restart] observe is "
            f"{restart.observe:g} s, and the limit lies beyond that"
        )
    if made < allowed and not first and not _time_is_over(evidence):
        raise Inconclusive(f"only {made} of {allowed} attempts were seen")


def _time_is_over(evidence: Evidence) -> bool:
    """Whether the last attempt failed after the declared limit in seconds, because workers took their time to fail."""
    limit, made = evidence.policy.restart.max_seconds, successors(evidence)
    failed = made[-1].died if made else None
    return limit is not None and failed is not None and failed - last_death(evidence) > limit


def tells_its_settings(evidence: Evidence, facts: Facts) -> None:
    """WORK-6: the retry settings in force are in what the management API answers."""
    describe = evidence.target.workers_are.describe
    if describe is None or describe.settings is None:
        raise Unsupported(
            "the manifest does not say where the retry settings can be seen: [workers.describe] path and settings"
        )
    told = evidence.all("described")
    if not told:
        raise Inconclusive("its API was not asked")
    first = told[0]
    value = find_value(describe.settings, first["value"])
    states = [find_value(describe.workers, one["value"]) for one in told] if describe.workers else None
    facts(settings=value, expected=describe.expect, status=first["status"], workers=states)
    facts.summary(f"{describe.path} tells of the retry settings: {value}")
    assert first["status"] is not None, f"{describe.path} was not answered: {first['failure']}"
    assert value is not None, f"{describe.path} (status {first['status']}) says nothing at {describe.settings!r}"
    assert describe.expect is None or value == describe.expect, (
        f"{describe.path} says {value!r}, and {describe.expect!r} is in force"
    )


def logs_every_cause(evidence: Evidence, facts: Facts, *, failed: list[Life], cause: str) -> None:
    """WORK-7: between the birth of each attempt that failed and the next, the output names the cause."""
    lines = [line for line in evidence.output.lines if "text" in line and re.search(cause, line["text"])]
    silent = []
    for index, life in enumerate(failed):
        until = failed[index + 1].born if index + 1 < len(failed) else float("inf")
        until = max(until, (life.died or life.born) + 1.0)  # a supervisor may pass on what a worker said
        if not any(life.born - 0.02 <= line["t"] <= until for line in lines):
            silent.append(life)
    facts(attempts_failed=len(failed), without_cause=len(silent), lines_with_the_cause=len(lines), cause=cause)
    facts.summary(f"each of {len(failed)} attempts that failed named the cause")
    facts.details("\n".join(evidence.output.tail(8, until=evidence.observed_until)))
    if not failed:
        raise Inconclusive("no attempt failed")
    assert not silent, f"{len(silent)} of {len(failed)} attempts that failed did not name the cause in the log"


def answers_without_workers(evidence: Evidence, facts: Facts, *, since: float, until: float) -> None:
    """WORK-8: between these moments no worker lived: readiness is negative, and every client gets an answer."""
    bound = evidence.policy.restart.answer_within + MARGIN
    came = evidence.requests.where(lambda j: since + RACE < _begun(j) < until and not j.record.reused)
    # What had not waited for long when the time was over was the next worker's, or the end's.
    judged = came.where(lambda j: j.record.end < until - MARGIN or until - _begun(j) - min(j.duration, 1e6) > bound)
    silent = judged.where(lambda j: min(j.record.end, until) - _begun(j) - min(j.duration, 1e6) > bound)
    broken = judged.fate(*BROKEN).where(lambda j: j not in set(silent))  # type: ignore[arg-type]
    # What a successor had taken before it was killed has ended with it, and says nothing of a time without workers.
    taken = broken.where(
        lambda j: any(x.born <= j.record.end <= (x.died or until) + RACE for x in successors(evidence))
    )
    judged, broken = (some.where(lambda j: j not in set(taken)) for some in (judged, broken))
    ready = _ready_looks(evidence, since + NEGATIVE_WITHIN, until)
    facts(
        requests_without_workers=len(judged),
        no_answer=len(silent),
        connection_ended=len(broken),
        ended_with_a_successor=len(taken),
        fates=judged.fates(),
        statuses=dict(Counter(str(j.record.status) for j in judged if j.record.answered)),
        ready_looks=len(ready),
        seconds_without_workers=rounded(until - since),
        client_waits_s=evidence.policy.restart.answer_within,
    )
    facts.summary(f"without workers it was not ready, and answered or refused each of {len(judged)} requests")
    facts.details("\n".join(silent.lines() + broken.lines()))
    assert not silent, f"without workers {len(silent)} of {len(judged)} requests got no answer within {bound:.1f} s"
    assert not broken, f"without workers {len(broken)} of {len(judged)} requests lost their connection unanswered"
    assert not ready, f"its readiness was still positive {ready[-1] - since:.1f} s after the last worker had died"
    if not judged:
        raise Inconclusive("no request came while no worker lived, early enough to say what becomes of it")


def _ready_looks(evidence: Evidence, since: float, until: float) -> list[float]:
    """When readiness was seen to be positive between these moments."""
    states = evidence.history.states(probe="readiness", key=evidence.target.readiness)
    return [
        min(state.last.latest, until)
        for state in states
        if is_positive(state.value) and state.last.earliest > since and state.first.earliest < until
    ]


def nobody_lived(evidence: Evidence) -> tuple[float, float]:
    """Between which moments no worker lived, or only ones that were killed at their birth.

    Raises Inconclusive where one of them lived for long enough to serve.
    """
    since, end = last_death(evidence), evidence.find("nobody")
    if end is None:
        raise Inconclusive("the time without workers was not observed to its end")
    until = float(end["t"])
    for life in evidence.lives.workers:
        lived = (until if life.died is None else min(life.died, until)) - max(life.born, since)
        if lived > LIVED:
            raise Inconclusive(f"a worker (pid {life.pid}) lived for {lived:.1f} s, and may have served")
    return since, until


def is_not_ready(evidence: Evidence, facts: Facts) -> None:
    """WORK-8 at a start at which no worker comes up: not ready at the end, and a real request gets an answer."""
    looks = evidence.all("serving_after_fault")
    if evidence.exit is not None:
        facts(exit_status=evidence.exit.status)
        facts.summary(f"it ended with status {evidence.exit.status}, so that nobody waits for an answer")
        return
    if not looks:
        raise Inconclusive("nobody looked at the end")
    readiness, predict = dict(looks[-1]["readiness"]), looks[-1]["predict"]
    facts(readiness=readiness, request_status=predict["status"], request_wrong=predict["wrong"])
    facts.summary("without any worker it is not ready, and a request gets an answer")
    assert not is_positive(readiness), f"no worker ever came up, and its readiness is positive: {readiness}"
    refused = "refused" in str(predict["wrong"]).lower()
    assert predict["status"] is not None or refused, f"a request got no answer: {predict['wrong']}"
