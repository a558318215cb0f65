"""Limits of real containers: the conforming server passes, and nothing of a fault is left, however the run ends."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pytest
from drainproof.target.container import labels
from drainproof.target.container.engine import address, connect

from tests.real.engine import require_engine
from tests.real.runs import ROOT, SERVERS, environment, pytest_command, run

pytestmark = pytest.mark.real

PATIENCE = 240.0
"""Seconds that an image, a start and a steady state may take on a busy machine."""


@pytest.fixture(autouse=True)
def engine() -> None:
    require_engine()


def hogs() -> list[psutil.Process]:
    return [
        p for p in psutil.process_iter(["cmdline"]) if "drainproof.faults.container.hog" in (p.info["cmdline"] or ())
    ]


def test_the_conforming_server_passes(tmp_path: Path) -> None:
    done = run(SERVERS / "conforming", report=tmp_path, arguments=["--launch=container", "-k", "limits.Test"])
    assert done.status == 0, done.explain()
    assert done.by_requirement("pass") == {"CONT-4", "CONT-5"}
    assert not done.by_requirement("note", "inconclusive", "unsupported", "error"), done.explain()
    facts = {v["scenario"]: v["facts"] for v in done.results["verdicts"]}
    killed = [found for scenario, found in facts.items() if "MemoryLimit" in scenario]
    assert len(killed) == 3
    assert all(found["oom_killed"] for found in killed), "the engine tells the same as the kernel"


def test_nothing_is_left_of_a_run_that_is_killed_while_the_container_is_paused(tmp_path: Path) -> None:
    client = connect(address()).client
    command = pytest_command(
        f"--target={SERVERS / 'conforming'}",
        "--launch=container",
        f"--report-dir={tmp_path}",
        "-k",
        "limits.TestPaused",
    )
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as session:
        ours = {"label": f"{labels.OWNER}={labels.owner(session.pid)}"}
        until = time.monotonic() + PATIENCE
        while not client.containers.list(filters={**ours, "status": "paused"}, ignore_removed=True):
            assert session.poll() is None, "it ended before its container was paused"
            assert time.monotonic() < until, "its container was never paused"
            time.sleep(0.05)  # between two looks
        session.kill()
    until = time.monotonic() + PATIENCE
    while client.containers.list(all=True, filters=ours, ignore_removed=True):
        assert time.monotonic() < until, "its container is still there"
        time.sleep(0.1)  # between two looks


def test_the_hog_of_a_run_that_is_killed_ends_as_well(tmp_path: Path) -> None:
    command = pytest_command(
        f"--target={SERVERS / 'conforming'}",
        "--launch=container",
        f"--report-dir={tmp_path}",
        "-k",
        "limits.TestMemoryLimitKillsTheServer and 1w",
    )
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as session:
        until, found = time.monotonic() + PATIENCE, []
        while not found:
            assert session.poll() is None, "it ended before it had a hog"
            assert time.monotonic() < until, "it never had a hog"
            found = [hog for hog in hogs() if hog.ppid() == session.pid]
            time.sleep(0.02)  # between two looks
        session.kill()
    gone, alive = psutil.wait_procs(found, timeout=PATIENCE)
    assert gone and not alive
