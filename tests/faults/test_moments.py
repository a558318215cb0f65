"""When a fault comes, against real processes."""

from __future__ import annotations

import sys
from pathlib import Path

from drainproof.laboratory import Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.scenario import UntilGone, signal, steady, when_every_worker_served
from drainproof.target.description import Policy, Target

SERVER = Path(__file__).with_name("uneven_server.py")


def test_a_worker_that_accepts_only_what_the_other_leaves_is_seen_to_serve(tmp_path: Path) -> None:
    """The kernel wakes whom it likes: that one of them never gets a connection is no defect."""
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
        command=(sys.executable, str(SERVER), "{port}"),
        working_directory=SERVER.parent,
        start_deadline=20.0,
        readiness="/ready",
        requests=(request,),
        policy=Policy(grace_period=3.0, settle_time=0.5),
        workers=(2,),
    )
    with Laboratory(target=target, folder=tmp_path, progress=lambda text: None) as laboratory:
        evidence = laboratory.experiment(scenario="x", title="x").run(
            load=[steady(rate=10, connections="new")],
            faults=[when_every_worker_served(signal("SIGTERM"))],
            observe=UntilGone(),
            workers=2,
        )
    (servers,) = evidence.all("servers")
    assert len(servers["pids"]) == 2
