"""CONT-4: what is asked of a server that lost something for a while, or a process for good."""

from __future__ import annotations

from drainproof.evidence import Judged, RequestSet
from drainproof.scenario import Evidence

from drainproof_scenarios._facts import Facts, rounded

DEADLINE = 10.0
"""Seconds that a client waits beyond the duration of its request, from the end of the fault on. The load engine itself
waits much longer, so that a request which hangs is seen to."""

NOT_RIGHT = ("wrong", "unavailable", "refused", "dropped", "cut", "hung")
"""What becomes of no request to a server that serves."""


def no_request_hangs(evidence: Evidence, facts: Facts, *, only_new_connections: bool = False) -> None:
    """Every request has ended before its deadline, in whatever way; nobody is to blame for the time after the end.

    `only_new_connections`: those whose connection the fault cannot have taken away.
    """
    asked = _after_the_fault(evidence) if only_new_connections else evidence.requests
    overdue = asked.where(lambda judged: _waited(evidence, judged) > DEADLINE + judged.duration)
    longest = max((_waited(evidence, judged) for judged in asked), default=0.0)
    facts(hung=len(overdue), requests=len(asked), longest_wait_s=rounded(longest))
    facts.details("\n".join(overdue.lines()))
    assert not overdue, (
        f"{len(overdue)} of {len(asked)} requests got neither an answer nor an end within {DEADLINE:g} s "
        "(beyond their own duration, and after the fault was over)"
    )


def serves_rightly_again(evidence: Evidence, facts: Facts, *, only_new_connections: bool = False) -> None:
    """It is ready, complete, and answers every request rightly, from some moment on."""
    recovery = evidence.find("recovery")
    if recovery is None or evidence.exit is not None:
        status = evidence.exit.status if evidence.exit else None
        facts(exit_status=status, exit_after_s=rounded(evidence.exit_after))
        facts.details("\n".join(evidence.output.tail(8, until=evidence.observed_until)))
        raise AssertionError(f"it did not survive: it ended with status {status}")
    looks = evidence.all("serving_after_fault")
    ready = looks and looks[-1]["readiness"].get("status", 0) // 100 == 2
    if not recovery["serving"]:
        facts(readiness=dict(looks[-1]["readiness"]), predict=looks[-1]["predict"]["wrong"])
        facts.details("\n".join(evidence.output.tail(8, until=evidence.observed_until)))
        if recovery["relapsed"]:
            raise AssertionError("it serves for moments, and then it does not")
        raise AssertionError(
            "it is half alive: it says that it is ready, and does not answer rightly"
            if ready
            else "it neither serves again nor is gone"
        )
    facts(serving_again_after_s=rounded(recovery["since"] - _over(evidence)))
    missing = recovery["workers_missing"]
    assert not missing, f"it says that it is ready, with {missing} fewer processes that serve than before"
    asked = _after_the_fault(evidence) if only_new_connections else evidence.requests
    later = asked.where(lambda judged: judged.record.due > recovery["since"])
    bad = later.fate(*NOT_RIGHT)  # type: ignore[arg-type]
    facts(asked_afterwards=len(later), not_answered_rightly=len(bad))
    facts.details("\n".join(bad.lines()))
    facts.summary(f"it served rightly again {recovery['since'] - _over(evidence):.1f} s later, and no request hung")
    assert not bad, f"it says that it is ready, and {len(bad)} of {len(later)} later requests got no right answer"


def _over(evidence: Evidence) -> float:
    """When the fault was over; one that does not last is over when it comes."""
    return float(evidence.fault.get("over", evidence.fault["t"]))


def _after_the_fault(evidence: Evidence) -> RequestSet:
    """The requests that made their own connection after the fault."""
    over = _over(evidence)
    own = {
        (judged.record.stream, judged.record.port)
        for judged in evidence.requests
        if judged.record.connect_start is not None and judged.record.connect_start > over
    }
    return evidence.requests.where(lambda j: j.record.due > over and (j.record.stream, j.record.port) in own)


def _waited(evidence: Evidence, judged: Judged) -> float:
    """Seconds that its client waited while the server was there and nothing was kept from it."""
    gone = evidence.exit.t if evidence.exit else float("inf")
    return min(judged.record.end, gone) - max(judged.record.due, _over(evidence))
