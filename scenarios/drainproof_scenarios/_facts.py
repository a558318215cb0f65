"""What several checks measure in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from drainproof.scenario import Evidence, Inconclusive


class Facts(Protocol):
    """The `facts` fixture: what a check measured, for the reports."""

    def __call__(self, **values: Any) -> None:
        """Adds measured values by name, the most telling first; units are part of the names."""

    def summary(self, text: str) -> None:
        """One sentence on what held."""

    def details(self, text: str) -> None:
        """Lines that a person wants to see beyond the facts."""


def ended(evidence: Evidence) -> None:
    """Raises Inconclusive unless the main process ended without our help."""
    if evidence.exit is None:
        raise Inconclusive("the target did not end by itself, so nothing can be said about what it leaves")


def no_debris(evidence: Evidence, facts: Facts, *, but: tuple[str, ...] = (), may_go_on: bool = False) -> None:
    """EXIT-5: none of asyncio's signatures is on the output, but for those of a kind in `but`.

    Inconclusive where it never ended, and so is not over; unless it `may_go_on`.
    """
    debris = [d for d in evidence.output.debris if d.kind not in but]
    facts(debris=len(debris), kinds=sorted({d.kind for d in debris}))
    facts.details("\n".join(line for d in debris[:8] for line in dict.fromkeys((d.lines[0], d.lines[-1]))))
    assert not debris, f"asyncio debris on its output: {debris[0].headline if debris else ''}"
    if not may_go_on:
        ended(evidence)


TURNS = 8
"""Answers per worker after which each of them has had its turn: chance leaves out one of two in 1 of 30,000 cases."""


def all_workers_serve(servers: Mapping[str, Any]) -> None:
    """As many distinct processes were seen to serve as workers are declared. `servers`: the event of that name.

    Inconclusive where another process could serve too, and those that were faster could not be paused to let it; and
    where answers tell who serves, and too few came for each worker to have had its turn.
    """
    seen, declared = len(servers["pids"]), servers["declared"]
    might = servers.get("might_serve", [])
    said = f"{declared} workers are declared, {seen} distinct processes were seen to serve"
    if seen < declared and might:
        raise Inconclusive(f"{said}; {len(might)} more hold the listener, and may only never have been the first")
    answers = servers.get("answers")
    if seen < declared and answers is not None and answers < TURNS * declared:
        raise Inconclusive(f"{said}; only {answers} answers came that tell who has given them")
    assert seen >= declared, said


def exit_facts(evidence: Evidence) -> dict[str, Any]:
    """When it ended, counted from the first fault; what is not a server in front of it, if anything is.

    And, of several workers, how many were seen to serve before: not all of them may have been held to the rule.
    """
    main = evidence.fault.get("main") or {"is": "server"}
    note = {} if main["is"] == "server" else {"main_process": main["note"]}
    servers = evidence.find("servers") if evidence.workers > 1 else None
    seen = {"serving_processes": len(servers["pids"]), "declared_workers": servers["declared"]} if servers else {}
    return {"exit_after_s": rounded(evidence.exit_after), **note, **seen, **unit_facts(evidence)}


def unit_facts(evidence: Evidence) -> dict[str, Any]:
    """As a systemd unit (emulated): what its end counts as, and whether it would be started again."""
    spec, end, killed = evidence.target.systemd, evidence.exit, evidence.unit_killed
    if spec is None:
        return {}
    if killed is not None:
        return {"unit_result": "timeout", "killed_by_systemd": len(killed["processes"])}
    if end is None:
        return {}
    stopped = evidence.fault.get("signal") == spec.kill_signal
    restarts = not stopped and spec.restarts(code=end.code, signal_number=end.signal)
    return {"unit_result": spec.result(code=end.code, signal_number=end.signal), "restarted_by_systemd": restarts}


def rounded(value: float | None) -> float | None:
    """Seconds to the millisecond."""
    return None if value is None else round(value, 3)
