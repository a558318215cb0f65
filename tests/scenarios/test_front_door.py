"""The main job in small: one scenario on a real server, as a user runs it, and its evidence judged again."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.real.runs import BROKEN, ROOT, SERVERS, Run, environment, judge, run

ONE = ("-k", "TestStopUnderLoad and [SIGTERM-main-1w]")


def verdicts(run: Run) -> list[tuple[str, str, str, str, dict[str, object]]]:
    return [(v["requirement"], v["scenario"], v["verdict"], v["summary"], v["facts"]) for v in run.results["verdicts"]]


def test_a_conforming_server_is_green_and_stays_so(tmp_path: Path) -> None:
    live = run(SERVERS / "conforming", report=tmp_path / "a live run", arguments=ONE, timeout=120)
    assert live.status == 0, live.output
    assert live.by_requirement("pass") >= {"DRAIN-1", "DRAIN-2", "DRAIN-3", "DRAIN-8", "EXIT-1", "EXIT-5", "EXIT-6"}
    assert not live.by_requirement("fail", "note", "inconclusive", "unsupported", "error"), live.explain()
    assert live.results["aborted"] is False
    assert live.results["versions"]["target"]["python"], "the target's own Python is known"
    again = judge(tmp_path / "a live run", report=tmp_path / "again")
    assert again.status == 0, again.output
    assert verdicts(again) == verdicts(live)


def test_without_assertions_nothing_is_judged(tmp_path: Path) -> None:
    target, report = f"--target={SERVERS / 'conforming'}", f"--report-dir={tmp_path / 'report'}"
    command = [sys.executable, "-O", "-m", "pytest", "-p", "no:cacheprovider", target, report]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert "take the assertions out of the checks" in done.stderr


def test_a_broken_server_fails_with_its_reasons(tmp_path: Path) -> None:
    live = run(BROKEN / "drops-requests-in-flight", report=tmp_path / "live", arguments=ONE, timeout=120)
    assert live.status == 1, live.output
    assert live.by_requirement("fail") == {"DRAIN-1"}, live.explain()
    for text in (
        "FAIL  DRAIN-1",
        "requests that were accepted before the signal got no right answer",
        "accepted_before_signal = ",
        "drain.TestStopUnderLoad-SIGTERM-main-1w",
        "pytest --target=",
        "results.json",
    ):
        assert text in live.output, live.output
    failed = ET.parse(tmp_path / "live" / "junit.xml").getroot().findall(".//testcase/failure")
    assert len(failed) == 1
    again = judge(tmp_path / "live", report=tmp_path / "again")
    assert again.status == 1
    assert verdicts(again) == verdicts(live)
