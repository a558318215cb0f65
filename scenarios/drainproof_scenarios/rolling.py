"""ROLL: a rolling restart of two instances behind a load balancer, as its clients see it."""

from __future__ import annotations

import pytest
from drainproof.evidence import RequestSet
from drainproof.scenario import (
    Evidence,
    Experiment,
    Inconclusive,
    Stream,
    UntilServed,
    at_steady_state,
    behind_balancer,
    hold,
    requirement,
    rolling_restart,
    sessions,
    steady,
)

from drainproof_scenarios import _rolling
from drainproof_scenarios._facts import Facts

IN_FLIGHT = 6
"""Slow requests that are held in flight, so that each server has some in hand when its stop signal comes."""

SESSIONS = 8
"""Clients with cookies of their own."""


def _load(experiment: Experiment) -> list[Stream]:
    return [
        steady(rate=20, connections="new"),
        steady(rate=20, connections="reuse"),
        hold(IN_FLIGHT, stagger=experiment.target.slow().duration / 2),
    ]


def nothing_is_lost(evidence: Evidence, facts: Facts) -> None:
    """ROLL-1: every request gets its right answer, and every server comes back."""
    evidence.require()
    restarts = _rolling.steps(evidence)
    losses = _rolling.lost(evidence)
    begin = float(evidence.fault["t"])
    during = evidence.requests.where(lambda j: j.record.end > begin and j.fate != "unfinished")
    facts(lost=len(losses), requests=len(during), lost_how=_rolling.how(losses), **_rolling.restart_facts(evidence))
    facts.details("\n".join(losses.lines()))
    facts.summary(f"each of {len(during)} requests during the restart of {len(restarts)} servers got its right answer")
    for step in restarts:
        assert step.not_back is None, f"server {step.server} did not come back on its port: {step.not_back}"
    _rolling.require_sound(evidence, losses)
    assert not losses, f"{len(losses)} of {len(during)} requests were lost by a rolling restart: {_most(losses)}"


def _most(losses: RequestSet) -> str:
    counted = _rolling.how(losses)
    return ", ".join(f"{what} ({count})" for what, count in list(counted.items())[:3])


class TestRoundRobin:
    """A rolling restart of two instances behind HAProxy, round robin."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment: new and kept connections at a steady rate, slow requests in flight, then the restarts."""
        return experiment.run(
            load=_load(experiment),
            faults=[at_steady_state(rolling_restart())],
            workers=min(experiment.target.workers),
            observe=UntilServed(),
            behind=behind_balancer(),
        )

    @requirement("ROLL-1")
    def test_no_request_is_lost(self, evidence: Evidence, facts: Facts) -> None:
        """Every request of every client gets its right answer, whichever server is being restarted."""
        nothing_is_lost(evidence, facts)


class TestStickySessions:
    """A rolling restart of two instances behind HAProxy, with a session cookie."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment) -> Evidence:
        """The experiment: the same, and clients whose cookie keeps them on their server."""
        return experiment.run(
            load=[*_load(experiment), sessions(SESSIONS)],
            faults=[at_steady_state(rolling_restart())],
            workers=min(experiment.target.workers),
            observe=UntilServed(),
            behind=behind_balancer(sticky=True),
        )

    @requirement("ROLL-1")
    def test_no_request_is_lost(self, evidence: Evidence, facts: Facts) -> None:
        """Every request of every client gets its right answer, whichever server is being restarted."""
        nothing_is_lost(evidence, facts)

    @requirement("ROLL-1")
    def test_sessions_stay_on_servers_that_are_up(self, evidence: Evidence, facts: Facts) -> None:
        """A session leaves its server only while that server is being restarted."""
        evidence.require()
        moves = _rolling.moves(evidence, "sessions")
        moved = [move for move in moves if not move.restarting]
        at_risk = [
            sessions
            for step in _rolling.steps(evidence)
            for server, sessions in _rolling.sessions_on(evidence, "sessions", step.t).items()
            if server != step.server
        ]
        out = _rolling.out_of_rotation(evidence)
        facts(
            moved_while_up=len(moved),
            moved_by_a_restart=len(moves) - len(moved),
            stayed_beside_a_restart=sum(map(len, at_risk)),
            sessions=SESSIONS,
            **({"out_of_rotation": [server for server, _ in out]} if out else {}),
        )
        facts.details("\n".join(map(str, moved[:5])))
        facts.summary(f"{SESSIONS} sessions left a server only while it was being restarted ({len(moves)} times)")
        if moved and (why := _rolling.doubts(evidence)):
            raise Inconclusive(f"sessions moved, but {why[0]}: this machine was too busy")
        assert not moved, f"a server that was up was left by its sessions, {len(moved)} times"
        if not any(at_risk):
            raise Inconclusive("no session was on a server that was up while another one was being restarted")
