"""What a rolling restart is judged by, on made-up evidence: every kind of loss, of move, and of doubt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence import Evidence
from drainproof.load.ledger import LedgerSummary, RequestRecord, write_line
from drainproof.probes.balancer import PROBE
from drainproof.recorder import EXPERIMENT, LEDGER, PROBES, TIMELINE
from drainproof.scenario import Inconclusive
from drainproof_scenarios import rolling
from drainproof_scenarios._rolling import Step, moves_of

from tests.facts import Facts
from tests.test_experiment import tiny

RESTARTS = [
    Step(server="a", t=10.0, until=12.0, killed=False, gone=11.0, not_back=None),
    Step(server="b", t=13.0, until=15.0, killed=False, gone=14.0, not_back=None),
]


def record(number: int, at: float, server: str | None = "a", *, session: int | None = 0, **more: Any) -> RequestRecord:
    """A request of the stream `sessions` that was answered rightly after 20 ms, unless `more` says otherwise."""
    values: dict[str, Any] = {
        "id": number,
        "token": f"t{number}",
        "stream": "sessions",
        "request": "fast",
        "due": at,
        "connect_start": None,
        "connected": None,
        "send_start": at,
        "sent": at,
        "first_byte": at + 0.02,
        "end": at + 0.02,
        "port": 4711,
        "reused": True,
        "sequence": 2,
        "bytes_sent": 1,
        "bytes_received": 1,
        "status": 200,
        "right": True,
        "wrong": None,
        "close_announced": False,
        "phase": None,
        "cause": None,
        "error": None,
        "session": session,
        "answered_by": server,
    }
    return RequestRecord(**{**values, **more})


def unanswered(number: int, at: float, status: int, server: str = "<NOSRV>") -> RequestRecord:
    return record(number, at, server, status=status, right=False, wrong=f"status {status} instead of 200")


class TestMoves:
    def test_none_where_every_session_stays(self) -> None:
        assert moves_of([record(0, 1.0), record(1, 11.0), record(2, 16.0)], RESTARTS) == []

    def test_one_that_leaves_a_server_while_it_is_restarted_is_excused(self) -> None:
        (move,) = moves_of([record(0, 9.9), record(1, 10.1, "b")], RESTARTS)
        assert (move.session, move.before, move.after, move.restarting) == (0, "a", "b", True)

    @pytest.mark.parametrize("at", [5.0, 9.9, 12.1, 13.5, 16.0])
    def test_one_that_leaves_a_server_that_is_up_is_not(self, at: float) -> None:
        (move,) = moves_of([record(0, 1.0), record(1, at, "b")], RESTARTS)
        assert not move.restarting and "which was up" in str(move)

    @pytest.mark.parametrize("at", [9.99, 11.99])
    def test_what_overlaps_the_restart_is_in_favour_of_the_target(self, at: float) -> None:
        (move,) = moves_of([record(0, 1.0), record(1, at, "b")], RESTARTS)
        assert move.restarting

    def test_who_answers_wrongly_says_nothing_about_the_session(self) -> None:
        assert moves_of([record(0, 1.0), unanswered(1, 5.0, 503), record(2, 6.0)], RESTARTS) == []

    def test_sessions_are_told_apart(self) -> None:
        assert moves_of([record(0, 1.0, "a", session=0), record(1, 1.0, "b", session=1)], RESTARTS) == []


def evidence(
    folder: Path, records: list[RequestRecord], *, probes: list[dict[str, Any]] = (), proven: bool = True, **step: Any
) -> Evidence:  # type: ignore[assignment]
    """The evidence of a rolling restart at these moments."""
    steps = [{"server": s.server, "t": s.t, "in_hand": 3, "gone": s.gone, "seen_up": s.until} for s in RESTARTS]
    steps[0] |= step
    fault = {"kind": "rolling_restart", "steps": steps, "proven": proven, "because": "of this", "t": RESTARTS[0].t}
    experiment = {
        "target": tiny().to_json(),
        "workers": 1,
        "ports": {"http": 1},
        "load": [{"kind": "closed", "name": "sessions"}],
        "behind": {"kind": "haproxy", "sticky": True, "check_every": 0.1},
    }
    (folder / EXPERIMENT).write_text(json.dumps(experiment))
    events = [{"t": 0.5, "event": "launch"}, {"t": 0.8, "event": "load"}, {"t": 15.0, "event": "fault", **fault}]
    (folder / TIMELINE).write_text(
        "".join(json.dumps(event) + "\n" for event in [*events, {"t": 17.0, "event": "end"}])
    )
    (folder / PROBES).write_text("".join(json.dumps(line) + "\n" for line in probes))
    summary = LedgerSummary(
        issued=len(records),
        recorded=len(records),
        aborted=0,
        locust_requests=len(records),
        started_at=0.9,
        stopped_at=16.5,
        late_due=0,
        worst_lag=0.0,
        cpu_seconds=1.0,
        wall_seconds=16.0,
    )
    (folder / LEDGER).write_text("".join(write_line(line) for line in [*records, summary]))
    return Evidence(folder)


def look(at: float, probe: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"t0": at, "t": at + 0.001, "probe": probe, "path": key, "value": value}


WELL = [record(0, 1.0), record(1, 9.0, "b", session=1), record(2, 10.5, "b"), record(3, 12.5, "b", session=1)]


def test_no_loss_is_a_pass(tmp_path: Path) -> None:
    facts = Facts()
    rolling.nothing_is_lost(evidence(tmp_path, WELL), facts)
    assert (facts.lost, facts.requests) == (0, 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("loss", "how"),
    [
        (unanswered(9, 11.0, 503), "status 503, no server was in rotation"),
        (unanswered(9, 11.0, 503, "a"), "status 503 of server a"),
        (unanswered(9, 11.0, 502, "a"), "status 502 of server a"),
        (record(9, 11.0, "b", right=False, wrong="the body is not JSON"), "the body is not JSON of server b"),
        (record(9, 11.0, None, status=None, right=False, phase="waiting", cause="eof"), "eof while waiting"),
        (record(9, 9.99, None, status=None, right=False, phase="body", cause="reset"), "reset while body"),
    ],
)
def test_every_loss_counts(tmp_path: Path, loss: RequestRecord, how: str) -> None:
    facts = Facts()
    with pytest.raises(AssertionError, match=rf"1 of 3 requests were lost by a rolling restart: {how} \(1\)"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, loss]), facts)
    assert facts.lost_how == {how: 1}  # type: ignore[attr-defined]


def test_what_was_lost_before_the_first_signal_does_not_count(tmp_path: Path) -> None:
    rolling.nothing_is_lost(evidence(tmp_path, [*WELL, unanswered(9, 5.0, 503)]), Facts())


def test_a_server_that_answers_wrongly_anyway_is_not_judged_by_its_restart(tmp_path: Path) -> None:
    wrong = [unanswered(9, 5.0, 500, "a"), unanswered(10, 11.0, 500, "b")]
    with pytest.raises(Inconclusive, match="1 requests were answered wrongly before the first stop signal as well"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, *wrong]), Facts())


def test_what_is_not_proven_is_inconclusive(tmp_path: Path) -> None:
    with pytest.raises(Inconclusive, match="of this"):
        rolling.nothing_is_lost(evidence(tmp_path, WELL, proven=False), Facts())


UP, DOWN = {"up": True}, {"up": False, "check": "L7STS"}
READY, NOT_READY = {"status": 200}, {"status": 503}


def seen(*, down_at: float, check: str = "L7STS", server: str = "a") -> list[dict[str, Any]]:
    """Readiness turned negative 50 ms after the signal; the balancer took `server` out at `down_at`."""
    path = tiny().readiness
    return [
        look(9.9, "readiness", path, READY),
        look(10.05, "readiness", path, NOT_READY),
        look(9.9, PROBE, server, UP),
        look(down_at, PROBE, server, {**DOWN, "check": check}),
        look(down_at + 0.5, PROBE, server, UP),
    ]


def test_a_balancer_that_was_late_leaves_the_loss_open(tmp_path: Path) -> None:
    loss = unanswered(9, 10.7, 502, "a")
    with pytest.raises(Inconclusive, match=r"it took the balancer 0\.9\d s to see that server a was not ready"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, loss], probes=seen(down_at=11.0)), Facts())


def test_one_that_was_in_time_does_not(tmp_path: Path) -> None:
    loss = unanswered(9, 10.7, 502, "a")
    with pytest.raises(AssertionError, match="1 of 3 requests were lost"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, loss], probes=seen(down_at=10.2)), Facts())


@pytest.mark.parametrize("check", ["L7TOUT", "L4TOUT"])
def test_a_healthy_server_that_had_no_time_for_a_health_check_leaves_it_open(tmp_path: Path, check: str) -> None:
    probes = seen(down_at=11.0, check=check, server="b")
    with pytest.raises(Inconclusive, match="took server b out because a health check had no answer in time"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, unanswered(9, 11.1, 503)], probes=probes), Facts())


def test_one_that_says_itself_that_it_is_not_ready_does_not(tmp_path: Path) -> None:
    probes = seen(down_at=11.0, server="b")
    with pytest.raises(AssertionError, match="1 of 3 requests were lost"):
        rolling.nothing_is_lost(evidence(tmp_path, [*WELL, unanswered(9, 11.1, 503)], probes=probes), Facts())


def test_doubts_do_not_matter_where_nothing_was_lost(tmp_path: Path) -> None:
    rolling.nothing_is_lost(evidence(tmp_path, WELL, probes=seen(down_at=11.0)), Facts())


def test_a_server_that_does_not_come_back_fails_whatever_was_lost(tmp_path: Path) -> None:
    made = evidence(tmp_path, WELL, not_back="ExitedEarly: it ended")
    with pytest.raises(AssertionError, match="server a did not come back on its port: ExitedEarly"):
        rolling.nothing_is_lost(made, Facts())


class TestSessions:
    def check(self, made: Evidence) -> Facts:
        facts = Facts()
        rolling.TestStickySessions().test_sessions_stay_on_servers_that_are_up(made, facts)
        return facts

    def test_they_stay(self, tmp_path: Path) -> None:
        facts = self.check(evidence(tmp_path, WELL))
        assert (facts.moved_while_up, facts.moved_by_a_restart) == (0, 1)  # type: ignore[attr-defined]
        assert facts.stayed_beside_a_restart == 1  # type: ignore[attr-defined]

    def test_one_that_leaves_a_server_that_is_up_fails(self, tmp_path: Path) -> None:
        moved = [*WELL[:3], record(21, 11.0, "a", session=1)]
        with pytest.raises(AssertionError, match="a server that was up was left by its sessions, 1 times"):
            self.check(evidence(tmp_path, moved))

    def test_where_a_health_check_had_no_time_it_is_left_open(self, tmp_path: Path) -> None:
        moved = [*WELL[:3], record(21, 11.0, "a", session=1)]
        with pytest.raises(Inconclusive, match="sessions moved, but"):
            self.check(evidence(tmp_path, moved, probes=seen(down_at=11.0, check="L7TOUT", server="b")))

    def test_without_a_session_beside_a_restart_nothing_is_shown(self, tmp_path: Path) -> None:
        with pytest.raises(Inconclusive, match="no session was on a server that was up"):
            self.check(evidence(tmp_path, [record(0, 1.0), record(1, 10.5, "b"), record(2, 12.5, "b")]))
