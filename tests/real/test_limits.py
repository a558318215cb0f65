"""Limits of real containers: the conforming server passes, and nothing of a fault is left, however the run ends."""

from __future__ import annotations

import json
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


ENDS_WHEN_HELD_BACK = """\
import glob, os, runpy, sys, threading, time

def watch():
    while True:
        time.sleep(0.05)
        for name in glob.glob("/sys/fs/cgroup/cpu*/cpu.stat") + glob.glob("/sys/fs/cgroup/cpu.stat"):
            told = dict(line.split() for line in open(name))
            if int(told.get("nr_throttled", 0)) > 7:
                os._exit(3)

threading.Thread(target=watch, daemon=True).start()
sys.path.insert(0, "conforming")
sys.argv[0] = "conforming/server.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_server_that_does_not_survive_a_lack_of_time_is_told_so(tmp_path: Path) -> None:
    """The kernel's account goes with the container, and what was held back in it shall not be forgotten."""
    manifest = (SERVERS / "broken" / "hangs-after-a-pause" / "drainproof.toml").read_text()
    manifest = manifest.replace('"../.."', f'"{SERVERS}"')
    manifest = manifest.replace('"broken/hangs-after-a-pause/server.py"', f'"-c", {json.dumps(ENDS_WHEN_HELD_BACK)}')
    (tmp_path / "drainproof.toml").write_text(manifest)
    done = run(tmp_path, report=tmp_path / "report", arguments=["-k", "limits.TestThrottled"])
    (verdict,) = done.results["verdicts"]
    assert (verdict["verdict"], verdict["summary"]) == ("note", "it did not survive: it ended with status 3")


ENDS_WHEN_PAUSED = """\
import os, runpy, sys, threading, time

def watch():
    now = time.monotonic()
    while True:
        time.sleep(0.01)
        before, now = now, time.monotonic()
        if now > before + 2.0:
            os._exit(3)

threading.Thread(target=watch, daemon=True).start()
sys.path.insert(0, "conforming")
sys.argv[0] = "conforming/server.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_server_that_ends_as_soon_as_it_is_resumed_is_told_so(tmp_path: Path) -> None:
    """Its freezer may be gone before anybody has seen it thaw."""
    manifest = (SERVERS / "broken" / "hangs-after-a-pause" / "drainproof.toml").read_text()
    manifest = manifest.replace('"../.."', f'"{SERVERS}"')
    manifest = manifest.replace('"broken/hangs-after-a-pause/server.py"', f'"-c", {json.dumps(ENDS_WHEN_PAUSED)}')
    (tmp_path / "drainproof.toml").write_text(manifest)
    done = run(tmp_path, report=tmp_path / "report", arguments=["-k", "limits.TestPaused"])
    (verdict,) = done.results["verdicts"]
    assert (verdict["verdict"], verdict["summary"]) == ("note", "it did not survive: it ended with status 3")


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
