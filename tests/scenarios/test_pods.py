"""The checks of CONT-2 and CONT-3 on written evidence: who counts as a user, what counts as a failure, what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drainproof.errors import Inconclusive
from drainproof.evidence import Evidence
from drainproof.evidence.pods import PodEnd
from drainproof.load.ledger import LedgerSummary, RequestRecord, write_line
from drainproof.recorder import LEDGER, Recorder
from drainproof.target.description import Target
from drainproof.target.pod import Pod
from drainproof_scenarios import pods

DELETED, HOOK_ENDED, EXITED = 100.0, 103.0, 104.0


class Facts:
    """Stands in for the fixture."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.said = ""

    def __call__(self, **values: Any) -> None:
        self.values |= values

    def summary(self, text: str) -> None:
        self.said = text

    def details(self, text: str) -> None:
        """Nobody looks at them here."""


def sent(begun: float, *, end: float | None = None, kept: bool = False, **more: Any) -> RequestRecord:
    """A request that was sent to the pod; right unless `more` says otherwise."""
    end = begun + 0.05 if end is None else end
    failed = more.get("cause") is not None
    values: dict[str, Any] = {
        "id": 0,
        "token": "t",
        "stream": "steady",
        "request": "fast",
        "due": begun,
        "connect_start": None if kept else begun,
        "connected": None if kept else begun,
        "send_start": begun,
        "sent": begun,
        "first_byte": None if failed else end,
        "end": end,
        "port": 4000,
        "reused": kept,
        "sequence": 2 if kept else 1,
        "bytes_sent": 100,
        "bytes_received": 0 if failed else 100,
        "status": None if failed else 200,
        "right": not failed,
        "wrong": None,
        "close_announced": False,
        "phase": "waiting" if failed else None,
        "cause": None,
        "error": None,
    }
    return RequestRecord(**{**values, **more})


def refused(begun: float) -> RequestRecord:
    return sent(begun, end=begun, cause="refused", phase="connect", connected=None, send_start=None, sent=None)


def elsewhere(begun: float) -> RequestRecord:
    return sent(
        begun, end=begun, cause="routed_elsewhere", phase="connect", connect_start=None, send_start=None, sent=None
    )


def evidence(
    folder: Path,
    *records: RequestRecord,
    grace: float = 8.0,
    stopped: float | None = HOOK_ENDED,
    killed: float | None = None,
    outcome: str = "done",
    unrouted: float = 101.0,
) -> Evidence:
    """The end of a pod whose endpoint was to leave its service after a second."""
    target = Target(
        name="tiny",
        folder=folder,
        manifest=None,
        command=("x",),
        working_directory=folder,
        readiness="/",
        requests=(),
        pod=Pod(grace_period=grace, sources={"grace_period": "[pod]", "policy.grace_period": "default"}),
    )
    with Recorder(folder=folder / "evidence") as recorder:
        load = [{"kind": "steady", "name": "steady"}]
        recorder.describe(target=target.to_json(), workers=1, load=load, ports={"http": 80})
        recorder.event("load")
        recorder.event(
            "fault",
            t=DELETED,
            kind="pod_termination",
            endpoint_lag=1.0,
            grace_period=grace,
            proven=True,
            because="it happened",
            signal="SIGTERM",
            unrouted=unrouted,
            killed=killed,
            exited=killed or EXITED,
            pre_stop={"started": DELETED, "ended": HOOK_ENDED, "outcome": outcome, "because": "the hook: so it was"},
            **({} if stopped is None else {"sent": stopped}),
        )
        recorder.event("exit", t=killed or EXITED, code=None if killed else 0, signal=9 if killed else None)
        recorder.event("end")
    numbered = [write_line(RequestRecord(**{**vars(r), "id": number})) for number, r in enumerate(records)]
    diverted = sum(r.cause == "routed_elsewhere" for r in records)
    summary = LedgerSummary(
        issued=len(records),
        recorded=len(records),
        aborted=0,
        locust_requests=len(records) - diverted,
        started_at=0.0,
        stopped_at=200.0,
        late_due=0,
        worst_lag=0.0,
        cpu_seconds=0.0,
        wall_seconds=0.0,
        routed_elsewhere=diverted,
    )
    (folder / "evidence" / LEDGER).write_text("".join([*numbered, write_line(summary)]), encoding="utf-8")
    return Evidence(folder / "evidence")


class TestUsers:
    def test_who_was_served_and_who_went_elsewhere_lost_nothing(self, tmp_path: Path) -> None:
        facts = Facts()
        found = evidence(
            tmp_path,
            sent(98.0),
            sent(99.9, end=100.5),
            sent(100.5),
            sent(102.0, kept=True),
            sent(103.5, kept=True),
            elsewhere(101.5),
            elsewhere(103.5),
        )
        pods._no_user_failed(found, facts)
        assert (facts.values["failed_requests"], facts.values["requests_of_users"]) == (0, 4)
        assert facts.values["routed_elsewhere"] == 2
        assert facts.said.startswith("none of 4 requests of users failed; 2 went to other endpoints")

    @pytest.mark.parametrize(
        ("failure", "told"),
        [
            (refused(100.5), "1 refused"),
            (sent(100.5, status=503, right=False, wrong="status 503"), "1 unavailable"),
            (sent(100.5, status=500, right=False, wrong="status 500"), "1 wrong"),
            (sent(100.5, cause="reset"), "1 dropped"),
            (sent(100.5, cause="timeout"), "1 hung"),
            (sent(102.0, kept=True, cause="eof", acknowledged=True), "1 dropped"),
        ],
    )
    def test_every_other_end_is_a_failure_for_its_user(self, tmp_path: Path, failure: RequestRecord, told: str) -> None:
        with pytest.raises(AssertionError, match=f"1 of 2 requests of users failed: {told}"):
            pods._no_user_failed(evidence(tmp_path, sent(100.2), failure), Facts())

    @pytest.mark.parametrize(
        "innocent",
        [
            sent(102.0, kept=True, cause="reset", acknowledged=False),
            sent(102.0, kept=True, cause="stream_refused", protocol="grpc"),
            refused(101.02),
            sent(99.0, end=99.5, cause="reset"),
        ],
        ids=["a race", "grpc sends it again", "sent only because we were late", "before the deletion"],
    )
    def test_what_is_nobodys_fault_is_not_counted(self, tmp_path: Path, innocent: RequestRecord) -> None:
        pods._no_user_failed(evidence(tmp_path, sent(100.2), innocent, unrouted=101.1), Facts())

    def test_nobody_is_no_user(self, tmp_path: Path) -> None:
        with pytest.raises(Inconclusive, match="no request was under way"):
            pods._no_user_failed(evidence(tmp_path, sent(98.0), elsewhere(101.5)), Facts())

    def test_who_answers_wrongly_anyway_is_not_blamed_for_the_end(self, tmp_path: Path) -> None:
        wrong = [sent(t, status=500, right=False, wrong="status 500") for t in (98.0, 100.5)]
        with pytest.raises(Inconclusive, match="without a termination as well"):
            pods._no_user_failed(evidence(tmp_path, *wrong), Facts())

    @pytest.mark.parametrize(
        ("how", "told"),
        [
            ({"stopped": 100.0}, "SIGTERM came 1.0 s before the last clients stopped being sent to it"),
            ({"outcome": "failed"}, r"its preStop hook failed \(the hook: so it was\)"),
            ({"killed": 105.0}, "SIGKILL came 5.0 s after the deletion"),
        ],
    )
    def test_the_reason_is_told(self, tmp_path: Path, how: dict[str, Any], told: str) -> None:
        with pytest.raises(AssertionError, match=told):
            pods._no_user_failed(evidence(tmp_path, refused(100.5), **how), Facts())

    def test_what_no_longer_hook_would_have_saved_is_told_apart(self, tmp_path: Path) -> None:
        early, lost = refused(100.5), sent(100.6, kept=True, cause="eof", acknowledged=True)
        found = evidence(tmp_path, early, lost, stopped=100.2)
        assert [j.record.id for j in PodEnd.of(found).failed_otherwise(found)] == [1]

    def test_how_long_it_serves_on_after_the_signal(self, tmp_path: Path) -> None:
        served = [sent(100.1), sent(100.4), sent(100.7), refused(100.8), sent(100.9)]
        found = evidence(tmp_path / "a", *served, stopped=100.2)
        assert PodEnd.of(found).served_after_stop(found) == pytest.approx(0.5)
        found = evidence(tmp_path / "b", refused(100.3), sent(100.4), stopped=100.2)
        assert PodEnd.of(found).served_after_stop(found) == 0.0
        assert len(PodEnd.of(found).lost_after_stop(found)) == 1
        found = evidence(tmp_path / "c", sent(100.4), sent(103.5, kept=True))
        assert PodEnd.of(found).served_after_stop(found) is None
        found = evidence(tmp_path / "d", sent(100.4), sent(100.7), stopped=100.2, unrouted=101.1)
        assert PodEnd.of(found).served_after_stop(found) == pytest.approx(0.9)


class TestGracePeriod:
    def test_hook_and_drain_fit(self, tmp_path: Path) -> None:
        facts = Facts()
        pods._fits_in_grace(evidence(tmp_path, sent(100.5)), facts)
        assert facts.said == "preStop and drain took 4.0 s of a grace period of 8 s"
        assert (facts.values["pre_stop_s"], facts.values["drain_s"]) == (3.0, 1.0)
        assert (facts.values["grace_period_s"], facts.values["grace_period_from"]) == (8.0, "[pod]")
        assert (facts.values["policy_grace_period_s"], facts.values["policy_grace_period_from"]) == (30.0, "default")

    def test_they_do_not(self, tmp_path: Path) -> None:
        with pytest.raises(AssertionError, match=r"preStop took 3\.0 s, its drain took 1\.0 s, .* period is 3\.5 s"):
            pods._fits_in_grace(evidence(tmp_path, sent(100.5), grace=3.5), Facts())

    def test_sigkill_had_to_come(self, tmp_path: Path) -> None:
        facts = Facts()
        with pytest.raises(AssertionError, match=r"SIGKILL had to end it 2\.0 s after SIGTERM"):
            pods._fits_in_grace(evidence(tmp_path, sent(100.5), grace=5.0, killed=105.0), facts)
        assert (facts.values["drain_s"], facts.values["killed_after_s"]) == (None, 5.0)

    def test_a_hook_may_end_it(self, tmp_path: Path) -> None:
        facts = Facts()
        pods._fits_in_grace(evidence(tmp_path, sent(100.5), stopped=None), facts)
        assert facts.said == "it ended of its preStop hook, 4.0 s after the deletion"
