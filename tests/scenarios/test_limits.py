"""What CONT-4 makes of recorded evidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence import Evidence
from drainproof.load.ledger import LedgerSummary, RequestRecord, write_line
from drainproof.load.plan import Request
from drainproof.recorder import LEDGER, Recorder
from drainproof.scenario import Fault, Unsupported, memory_limit, network_lost, paused, restricted, throttled
from drainproof.target.description import Target
from drainproof_scenarios import _limits

FAULT, OVER, SERVING = 100.0, 103.0, 104.0

ANSWERED = RequestRecord(
    id=0,
    token="t",
    stream="steady-new",
    request="fast",
    due=90.0,
    connect_start=90.0,
    connected=90.0,
    send_start=90.0,
    sent=90.0,
    first_byte=90.1,
    end=90.1,
    port=40000,
    reused=False,
    sequence=1,
    bytes_sent=1,
    bytes_received=1,
    status=200,
    right=True,
    wrong=None,
    close_announced=False,
    phase=None,
    cause=None,
    error=None,
)
NEVER = replace(ANSWERED, first_byte=None, status=None, right=False, phase="waiting", cause="aborted")


def at(record: RequestRecord, begun: float, end: float) -> RequestRecord:
    return replace(record, due=begun, connect_start=begun, send_start=begun, sent=begun, end=end)


class Noted:
    """The `facts` fixture, for whoever asks later."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __call__(self, **values: Any) -> None:
        self.values.update(values)

    def summary(self, text: str) -> None:
        self.values["summary"] = text

    def details(self, text: str) -> None:
        self.values["details"] = text


def tiny(folder: Path) -> Target:
    return Target(
        name="tiny",
        folder=folder,
        manifest=None,
        command=("x",),
        working_directory=folder,
        readiness="/",
        requests=(Request(name="fast", method="GET", path="/", duration=1.0),),
    )


def evidence(folder: Path, *records: RequestRecord, exit: tuple[float, int] | None = None, **recovery: Any) -> Evidence:
    """An experiment in which something was taken away at `FAULT` and given back at `OVER`."""
    target = tiny(folder)
    with Recorder(folder=folder / "evidence") as recorder:
        recorder.describe(target=target.to_json(), workers=1, ports={"http": 1}, load=[])
        recorder.event("load", t=80.0)
        recorder.event("fault", t=FAULT, over=OVER, kind="paused", proven=True, because="it was so")
        if exit is not None:
            recorder.event("exit", t=exit[0], code=exit[1], signal=None)
        else:
            seen = {"serving": True, "since": SERVING, "relapsed": False, "workers_missing": 0, **recovery}
            answer = {"wrong": None if seen["serving"] else "no answer"}
            recorder.event("serving_after_fault", readiness={"status": 200}, predict=answer)
            recorder.event("recovery", **seen)
    numbered = [replace(record, id=number, port=40000 + number) for number, record in enumerate(records)]
    summary = LedgerSummary(
        issued=len(records),
        recorded=len(records),
        aborted=sum(record.cause == "aborted" for record in records),
        locust_requests=sum(record.cause != "aborted" for record in records),
        started_at=80.0,
        stopped_at=120.0,
        late_due=0,
        worst_lag=0.0,
        cpu_seconds=1.0,
        wall_seconds=40.0,
    )
    lines = [write_line(record) for record in (*numbered, summary)]
    (folder / "evidence" / LEDGER).write_text("".join(lines))
    return Evidence(folder / "evidence")


def judge(found: Evidence, *, only_new_connections: bool = False) -> Noted:
    noted = Noted()
    _limits.no_request_hangs(found, noted, only_new_connections=only_new_connections)
    _limits.serves_rightly_again(found, noted, only_new_connections=only_new_connections)
    return noted


def test_what_waits_for_the_end_of_the_fault_does_not_hang(tmp_path: Path) -> None:
    late = at(ANSWERED, 99.0, OVER + _limits.DEADLINE)
    noted = judge(evidence(tmp_path, at(ANSWERED, 90.0, 91.0), late))
    assert noted.values["hung"] == 0
    assert noted.values["longest_wait_s"] == _limits.DEADLINE


@pytest.mark.parametrize("begun", [99.0, 105.0], ids=["before the fault", "after it"])
def test_what_never_ends_hangs(tmp_path: Path, begun: float) -> None:
    found = evidence(tmp_path, at(NEVER, begun, 120.0))
    with pytest.raises(AssertionError, match="1 of 1 requests got neither an answer nor an end"):
        judge(found)


def test_an_answer_that_comes_much_too_late_is_one_that_hung(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="neither an answer nor an end within 10 s"):
        judge(evidence(tmp_path, at(ANSWERED, 99.0, OVER + _limits.DEADLINE + 1.5)))


def test_nobody_is_to_blame_for_waiting_for_a_server_that_is_gone(tmp_path: Path) -> None:
    noted = Noted()
    _limits.no_request_hangs(evidence(tmp_path, at(NEVER, 99.0, 150.0), exit=(104.0, 137)), noted)
    assert noted.values["hung"] == 0


def test_what_the_network_took_along_is_not_looked_at(tmp_path: Path) -> None:
    on_an_old_one = replace(at(NEVER, 105.0, 120.0), reused=True, connect_start=None)
    noted = judge(evidence(tmp_path, at(NEVER, 99.0, 120.0), on_an_old_one), only_new_connections=True)
    assert noted.values["requests"] == 0


def test_new_connections_are_looked_at_when_the_network_is_back(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="1 of 1 requests"):
        judge(evidence(tmp_path, at(NEVER, 105.0, 120.0)), only_new_connections=True)


@pytest.mark.parametrize(
    ("recovery", "reason"),
    [
        ({"serving": False, "since": None}, "half alive"),
        ({"serving": False, "since": None, "relapsed": True}, "for moments"),
        ({"workers_missing": 1}, "1 fewer processes"),
    ],
)
def test_half_alive_is_not_alive(tmp_path: Path, recovery: dict[str, Any], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        judge(evidence(tmp_path, at(ANSWERED, 90.0, 91.0), **recovery))


def test_a_server_that_ends_has_not_survived(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="it ended with status 1"):
        judge(evidence(tmp_path, exit=(104.0, 1)))


def test_a_wrong_answer_from_a_server_that_serves_again_is_told(tmp_path: Path) -> None:
    wrong = replace(at(ANSWERED, 105.0, 105.5), right=False, status=503)
    with pytest.raises(AssertionError, match="1 of 2 later requests got no right answer"):
        judge(evidence(tmp_path, wrong, at(ANSWERED, 105.0, 105.5)))


@pytest.mark.parametrize(
    "fault",
    [memory_limit("main"), throttled(1.0), paused(1.0), network_lost(1.0), restricted()],
    ids=lambda fault: str(fault.describe()["kind"]),
)
def test_a_process_has_no_limits_of_a_container(tmp_path: Path, fault: Fault) -> None:
    with pytest.raises(Unsupported, match="only a container can have this fault; the target is launched as a process"):
        fault.check(tiny(tmp_path))
