"""Conditions that hold from the launch on: what a start that fails under one of them says, and what it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.errors import Inconclusive, NeverReadyNeverExits, NotReadyInTime
from drainproof.laboratory import Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.scenario import start_method
from drainproof.target.description import Policy, Target

pytestmark = pytest.mark.real  # each waits for the deadlines of starts

SERVER = Path(__file__).parent / "servers" / "tiny.py"

HANGS_WITH_THE_SHIM = """
import os, sys, time
if "DRAINPROOF_SHIM" in os.environ:
    time.sleep(60)
os.execv(sys.executable, [sys.executable, {server!r}, sys.argv[1]])
"""

HANGS_FROM_THE_SECOND_START_ON = """
import os, sys, time
from pathlib import Path
mark = Path({mark!r})
if mark.exists():
    time.sleep(60)
mark.touch()
os.execv(sys.executable, [sys.executable, {server!r}, sys.argv[1]])
"""


def target(script: Path) -> Target:
    return Target(
        name="late",
        folder=script.parent,
        manifest=None,
        command=(sys.executable, str(script), "{port}"),
        working_directory=script.parent,
        start_deadline=3.0,
        readiness="/ready",
        requests=(Request(name="r", method="POST", path="/", body='{"token": "{token}"}', expect=Expectation()),),
        policy=Policy(grace_period=1.0, settle_time=1.0, stop_signals=("SIGTERM",)),
    )


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "launcher.py"


def run(script: Path, evidence: Path) -> None:
    with Laboratory(target=target(script), folder=evidence, progress=lambda text: None) as laboratory:
        laboratory.experiment(scenario="s", title="t").run(given=[start_method("spawn")])


def test_a_target_that_only_hangs_under_the_condition_is_told_so(script: Path, tmp_path: Path) -> None:
    script.write_text(HANGS_WITH_THE_SHIM.format(server=str(SERVER)))
    with pytest.raises((NotReadyInTime, NeverReadyNeverExits)):
        run(script, tmp_path / "evidence")


def test_a_target_that_hangs_without_it_as_well_says_nothing(script: Path, tmp_path: Path) -> None:
    script.write_text(HANGS_FROM_THE_SECOND_START_ON.format(server=str(SERVER), mark=str(tmp_path / "started")))
    with pytest.raises(Inconclusive, match="does not start without the condition either"):
        run(script, tmp_path / "evidence")
