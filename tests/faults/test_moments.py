"""When a fault comes, against real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from drainproof.errors import Inconclusive
from drainproof.evidence import Evidence
from drainproof.faults.bench import Injection
from drainproof.faults.moments import ServersSeen
from drainproof.laboratory import Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.scenario import UntilGone, signal, steady
from drainproof.target.description import Policy, Target
from drainproof_scenarios._facts import all_workers_serve

SERVER = Path(__file__).with_name("uneven_server.py")


def run(tmp_path: Path, *switches: str, patience: float = 10.0) -> Evidence:
    request = Request(
        name="echo",
        method="POST",
        path="/",
        headers={"Content-Type": "text/plain"},
        body="{token}",
        expect=Expectation(contains="{token}"),
        duration=0.02,
    )
    target = Target(
        name="uneven",
        folder=SERVER.parent,
        manifest=None,
        command=(sys.executable, str(SERVER), "{port}", *switches),
        working_directory=SERVER.parent,
        start_deadline=20.0,
        readiness="/ready",
        requests=(request,),
        policy=Policy(grace_period=3.0, settle_time=0.5),
        workers=(2,),
    )
    with Laboratory(target=target, folder=tmp_path, progress=lambda text: None) as laboratory:
        return laboratory.experiment(scenario="x", title="x").run(
            load=[steady(rate=10, connections="new")],
            faults=[Injection(moment=ServersSeen(patience=patience), fault=signal("SIGTERM"))],
            observe=UntilGone(),
            workers=2,
        )


def test_a_worker_that_never_gets_a_connection_beside_the_other_is_seen_to_serve(tmp_path: Path) -> None:
    """The kernel wakes whom it likes: that one of them never gets a connection is no defect."""
    (servers,) = run(tmp_path).all("servers")
    assert len(servers["pids"]) == 2 and len(servers["paused"]) == 1
    all_workers_serve(servers)


@pytest.mark.parametrize(("second", "usual_start", "seen"), [("late", 30.0, 2), ("never", 1.0, 1)])
def test_one_that_was_born_a_moment_ago_gets_the_time_that_a_start_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str, usual_start: float, seen: int
) -> None:
    monkeypatch.setattr(Laboratory, "_usual_start", lambda _: usual_start)
    (servers,) = run(tmp_path, second, patience=0.5).all("servers")
    assert len(servers["pids"]) == seen


@pytest.mark.real
def test_nobody_is_paused_whose_parent_takes_notice(tmp_path: Path) -> None:
    """A parent that waits for every SIGCHLD would hang, and be blamed for it."""
    evidence = run(tmp_path, "waits")
    (servers,) = evidence.all("servers")
    assert (len(servers["pids"]), servers["paused"], len(servers["might_serve"])) == (1, [], 1)
    assert evidence.exit is not None
    with pytest.raises(Inconclusive, match="1 more hold the listener"):
        all_workers_serve(servers)


def test_too_few_answers_leave_it_open_who_serves() -> None:
    """Two workers behind a front, told by the answers: each of eight coming from the same one may be chance."""
    servers = {"pids": [7], "declared": 2, "might_serve": [], "answers": 8}
    with pytest.raises(Inconclusive, match="only 8 answers came"):
        all_workers_serve(servers)
    with pytest.raises(AssertionError, match="1 distinct processes"):
        all_workers_serve({**servers, "answers": 16})
