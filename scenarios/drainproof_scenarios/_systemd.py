"""What systemd (emulated) makes of the way in which a unit's main process ended. Nothing in other launch modes."""

from __future__ import annotations

from drainproof.scenario import Evidence

from drainproof_scenarios._facts import Facts, unit_facts


def ends_in_order(evidence: Evidence, facts: Facts) -> None:
    """EXIT-1: an exit after a stop leaves the unit inactive, and not failed."""
    spec, end = evidence.target.systemd, evidence.exit
    if spec is None or end is None:
        return
    result = spec.result(code=end.code, signal_number=end.signal)
    facts(**unit_facts(evidence))
    assert result == "success", (
        f"systemd (emulated) counts {_how(evidence)} after a stop as a failure, and leaves the unit failed: "
        f"end with status 0, or declare SuccessExitStatus={end.status if end.code is not None else end.signal}"
    )


def is_restarted(evidence: Evidence, facts: Facts) -> None:
    """EXIT-2: after a fatal error the service is started again, where the unit has a Restart= at all."""
    spec, end = evidence.target.systemd, evidence.exit
    if spec is None or end is None:
        return
    restarts = spec.restarts(code=end.code, signal_number=end.signal)
    facts(restart=spec.restart, **unit_facts(evidence))
    assert spec.restart == "no" or restarts, (
        f"it died of an internal error with {_how(evidence)}, after which systemd (emulated) does not start it again: "
        f"Restart={spec.restart}"
    )


def _how(evidence: Evidence) -> str:
    end = evidence.exit
    assert end is not None
    return f"exit status {end.code}" if end.code is not None else f"signal {end.signal}"
