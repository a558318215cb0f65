"""TorchServe releases from PyPI get the verdicts that were measured on them by hand. Needs Java 17."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, Run, judge, run
from tests.reference_servers.truths import truths

pytestmark = pytest.mark.real

TORCHSERVE = SERVERS / "torchserve"
RELEASES = ["0.8.2", "0.9.0", "0.11.1", "0.12.0"]
SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "2"))

SELECTED = "(TestStopUnderLoad and main-1w) or (TestPortTaken and [1w-management]) or (TestModelCannotBeLoaded and 1w)"

STOPS = {f"drain.TestStopUnderLoad[{name}-main-1w]": status for name, status in (("SIGTERM", 143), ("SIGINT", 130))}
TRUTHS: list[tuple[str, str, str, str]] = [
    *((stop, "DRAIN-1", "fail", "got no right answer") for stop in STOPS),
    *((stop, "DRAIN-10", "pass", "") for stop in STOPS),
    *((stop, "EXIT-1", "pass", f"exit status {status}") for stop, status in STOPS.items()),
    *((stop, "EXIT-4", "fail", "models/") for stop in STOPS),
    ("start.TestPortTaken[1w-management]", "START-3", "pass", ""),
    ("start.TestModelCannotBeLoaded[1w]", "START-2", "fail", "without its model it says that it is ready"),
]
"""Of each release: scenario, requirement, verdict, and a part of the summary."""


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """The runs of all releases that were selected, side by side; each makes its environment first."""
    folder = tmp_path_factory.mktemp("torchserve")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {of_item["release"] for of_item in params if "release" in of_item}

    def one(release: str) -> Run:
        subprocess.run([str(TORCHSERVE / "environment"), release], check=True, stdout=subprocess.DEVNULL)
        return run(TORCHSERVE / release, report=folder / release, arguments=("-k", SELECTED))

    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {release: pool.submit(one, release) for release in RELEASES if release in wanted}
    pool.shutdown(cancel_futures=True)


def verdicts(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    return {(v["scenario"], v["requirement"]): (v["verdict"], v["summary"]) for v in run.results["verdicts"]}


@pytest.mark.parametrize("release", RELEASES)
def test_the_truths_come_out_and_again_from_the_evidence(
    release: str, runs: dict[str, Future[Run]], tmp_path: Path
) -> None:
    live = runs[release].result()
    found = verdicts(live)
    for scenario, requirement, verdict, text in TRUTHS:
        assert found[scenario, requirement][0] == verdict, f"{scenario} {requirement}\n{live.explain()}"
        assert text in found[scenario, requirement][1]
    assert not live.by_requirement("error"), live.explain()
    for v in live.results["verdicts"]:
        for truth in truths("torchserve"):
            if truth.covers(release=release, requirement=v["requirement"], scenario=v["scenario"]):
                said = f"{v['scenario']} {v['requirement']}: {v['summary']}\nby hand: {truth.why}"
                assert v["verdict"] in truth.verdicts, said
    again = judge(live.report, report=tmp_path / "again")
    assert verdicts(again) == found
