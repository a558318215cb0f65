"""TorchServe releases from PyPI get the verdicts that are true of them. Needs Java 17."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, Run, judge, keep, run
from tests.reference_servers.truths import truths

pytestmark = pytest.mark.real

TORCHSERVE = SERVERS / "torchserve"
RELEASES = ["0.8.2", "0.9.0", "0.11.1", "0.12.0"]
SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "2"))

RECOVER = {"0.11.1", "0.12.0"}
"""The releases whose dead workers come back."""

SELECTED = (
    "(TestStopUnderLoad and main-1w) or (TestPortTaken and [1w-management]) or (test_every_worker_serves and 2w)"
    " or (TestWorkerDies and SIGKILL-1w) or (TestSuccessorsDie and 1w) or (TestEveryWorkerDies and 1w)"
)
SLOW = " or (TestModelCannotBeLoaded and 1w)"
"""A minute of waiting, so only for the oldest and the newest release."""
SELECTED_WITHOUT_RETRY = "TestNoWorkerEverLoads and 1w"

STOPS = {f"drain.TestStopUnderLoad[{name}-main-1w]": status for name, status in (("SIGTERM", 143), ("SIGINT", 130))}
KILLED, SUCCESSORS = "workers.TestWorkerDies[SIGKILL-1w]", "workers.TestSuccessorsDie[1w]"
NOBODY, NEVER = "workers.TestEveryWorkerDies[1w]", "workers.TestNoWorkerEverLoads[1w-declared]"

Expected = list[tuple[str, str, str, str]]
"""Scenario, requirement, verdict, and a part of the summary."""


def expected(release: str) -> Expected:
    """The truths of `drainproof.toml`."""
    recovers = release in RECOVER
    return [
        *((stop, "DRAIN-1", "fail", "got no right answer") for stop in STOPS),
        *((stop, "DRAIN-10", "pass", "") for stop in STOPS),
        *((stop, "EXIT-1", "pass", f"exit status {status}") for stop, status in STOPS.items()),
        *((stop, "EXIT-4", "fail", "models/") for stop in STOPS),
        ("start.TestPortTaken[1w-management]", "START-3", "pass", ""),
        ("start.TestStart[2w]", "START-6", "pass", ""),
        (KILLED, "WORK-1", *(("pass", "was replaced") if recovers else ("fail", "no real request succeeded"))),
        (SUCCESSORS, "WORK-4", "pass", "followed fibonacci"),
        (SUCCESSORS, "WORK-6", *(("pass", "retry settings: 300") if recovers else ("note", "says nothing"))),
        (NOBODY, "WORK-8", "fail", "got no answer"),
    ]


def expected_without_retry(release: str) -> Expected:
    """The truths of `no-retry.toml`."""
    if release in RECOVER:
        return [
            (NEVER, "WORK-5", "pass", "1 attempts were made, 1 are the limit"),
            (NEVER, "WORK-8", "fail", "no answer"),
        ]
    return [
        (NEVER, "WORK-5", "fail", "and the declared limit is 1"),
        (NEVER, "WORK-8", "fail", "readiness is positive"),
    ]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[tuple[Run, Run]]]]:
    """The runs of all releases that were selected, side by side, with and without retry."""
    folder = tmp_path_factory.mktemp("torchserve")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {of_item["release"] for of_item in params if "release" in of_item} or {RELEASES[-1]}

    def one(release: str) -> tuple[Run, Run]:
        subprocess.run([str(TORCHSERVE / "environment"), release], check=True, stdout=subprocess.DEVNULL)
        selected = SELECTED + (SLOW if release in (RELEASES[0], RELEASES[-1]) else "")
        here, report = TORCHSERVE / release, folder / release
        with_retry = run(here, report=report, arguments=("-k", selected))
        keep(with_retry, name=f"torchserve-{release}")
        return (
            with_retry,
            run(
                here / "no-retry.toml", report=folder / f"{release}-no-retry", arguments=("-k", SELECTED_WITHOUT_RETRY)
            ),
        )

    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {release: pool.submit(one, release) for release in RELEASES if release in wanted}
    pool.shutdown(cancel_futures=True)


def verdicts(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    return {(v["scenario"], v["requirement"]): (v["verdict"], v["summary"]) for v in run.results["verdicts"]}


def agrees(live: Run, release: str, expected: Expected) -> None:
    """Asserts that the verdicts are the expected ones, and that no other contradicts truths.toml."""
    found = verdicts(live)
    for scenario, requirement, verdict, text in expected:
        assert found[scenario, requirement][0] == verdict, f"{scenario} {requirement}\n{live.explain()}"
        assert text in found[scenario, requirement][1]
    assert not live.by_requirement("error"), live.explain()
    for v in live.results["verdicts"]:
        for truth in truths("torchserve"):
            if truth.covers(release=release, requirement=v["requirement"], scenario=v["scenario"]):
                said = f"{v['scenario']} {v['requirement']}: {v['summary']}\nthe truth: {truth.why}"
                assert v["verdict"] in truth.verdicts, said


@pytest.mark.parametrize("release", RELEASES)
def test_the_truths_come_out_and_again_from_the_evidence(
    release: str, runs: dict[str, Future[tuple[Run, Run]]], tmp_path: Path
) -> None:
    live, without_retry = runs[release].result()
    agrees(live, release, expected(release))
    (killed,) = (v for v in live.results["verdicts"] if (v["scenario"], v["requirement"]) == (KILLED, "WORK-2"))
    assert killed["facts"]["statuses"].get("507"), "what was in work when its worker was killed is answered"
    agrees(without_retry, f"{release}-no-retry", expected_without_retry(release))
    again = judge(live.report, report=tmp_path / "again")
    assert verdicts(again) == verdicts(live)


def test_the_schedule_is_not_doubling(runs: dict[str, Future[tuple[Run, Run]]], tmp_path: Path) -> None:
    """The same evidence, judged by another declaration; the report shows what is declared beside what was observed."""
    live, _ = runs[RELEASES[-1]].result()
    copy = tmp_path / "copy"
    shutil.copytree(live.report, copy)
    for path in copy.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"schedule": "fibonacci"', '"schedule": "doubling"'), encoding="utf-8")
    again = judge(copy, report=tmp_path / "again", arguments=("-k", "test_attempts_follow_the_schedule"))
    verdict, summary = verdicts(again)[SUCCESSORS, "WORK-4"]
    assert (verdict, "declared are 2 s (doubling from 1 s)" in summary) == ("fail", True), summary
    assert "too early" in again.output and "observed: █, declared: │" in again.output
