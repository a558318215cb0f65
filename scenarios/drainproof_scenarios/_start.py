"""The rules that several START scenarios hold their evidence to."""

from __future__ import annotations

from drainproof.probes.history import is_positive
from drainproof.scenario import Evidence, Inconclusive

from drainproof_scenarios._facts import Facts, exit_facts


def ends_without_its_model(evidence: Evidence, facts: Facts, *, cause: str | None) -> None:
    """START-2: it ends non-zero in time, names the cause (a pattern), leaves neither processes nor debris.

    A target that declares that it stays up without its model is held to that instead.
    """
    late = evidence.find("at_deadline")
    if late is not None and late["predict"]["right"]:
        raise Inconclusive("the failure had no effect: it answers requests rightly")
    if evidence.policy.startup_failure == "stays_up_not_ready":
        _stays_up(evidence, facts)
        return
    named = evidence.output.matching(cause) if cause else evidence.output.tail(3, until=evidence.observed_until)
    survivors = evidence.find("survivors")
    facts(
        exit_status=evidence.exit and evidence.exit.status,
        **exit_facts(evidence),
        names_the_cause=bool(named),
        survivors=len(survivors["processes"]) if survivors else 0,
        debris=[d.kind for d in evidence.output.debris],
    )
    facts.details("\n".join(named[:3] or evidence.output.tail(5, until=evidence.observed_until)))
    deadline = evidence.target.start_deadline
    assert evidence.exit is not None, f"it hangs: still alive after {deadline:g} s without its model"
    assert evidence.exit.status != 0, "its model could not be loaded, and it ended with status 0"
    assert named, f"its output does not name the cause (no match for {cause!r})" if cause else "it said nothing"
    assert survivors is None, "processes of it live on"
    assert not evidence.output.debris, "it left asyncio debris on its output"


def _stays_up(evidence: Evidence, facts: Facts) -> None:
    ready = [
        state
        for state in evidence.history.states(probe="readiness", key=evidence.target.readiness)
        if is_positive(state.value)
    ]
    facts(exit_status=evidence.exit and evidence.exit.status, ever_ready=bool(ready))
    facts.summary("it stays up without its model, and is never ready")
    assert evidence.exit is None, "the policy says that it stays up without its model, but it ended"
    assert not ready, "without its model it says that it is ready"
