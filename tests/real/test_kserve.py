"""KServe releases from PyPI get the verdicts that were measured on them by hand."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, Run, judge, run
from tests.reference_servers.kserve_truths import truths

pytestmark = pytest.mark.real

KSERVE = SERVERS / "kserve"
SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "4"))

ONE_WORKER = "(TestStopUnderLoad and main-1w)"
TWO_WORKERS = "[SIGTERM-main-2w]"
PORT = "TestPortTaken and 1w"
SELECTED = {
    "0.11.2": PORT,
    "0.13.1": f"({PORT}) or {ONE_WORKER} or (TestStopUnderLoad and {TWO_WORKERS})",
    "0.15.2": f"({PORT}) or {ONE_WORKER}",
    "0.21.0": f"({PORT}) or {ONE_WORKER} or (TestStopUnderLoad and {TWO_WORKERS})",
}

GRACEFUL = [
    (f"drain.TestStopUnderLoad[{name}-main-1w]", requirement, "pass", "")
    for name in ("SIGTERM", "SIGINT")
    for requirement in ("DRAIN-1", "EXIT-1", "DRAIN-10")
]
HTTP_TAKEN = "start.TestPortTaken[1w-http]"
TWO = "drain.TestStopUnderLoad[SIGTERM-main-2w]"
TRUTHS: dict[str, list[tuple[str, str, str, str]]] = {
    "0.11.2": [(HTTP_TAKEN, "START-3", "fail", "it hangs")],
    "0.13.1": [
        *GRACEFUL,
        (HTTP_TAKEN, "START-3", "pass", ""),
        (HTTP_TAKEN, "EXIT-5", "pass", ""),
        (TWO, "DRAIN-10", "fail", "still alive"),
    ],
    "0.15.2": [*GRACEFUL, (HTTP_TAKEN, "START-3", "pass", ""), (HTTP_TAKEN, "EXIT-5", "fail", "asyncio debris")],
    "0.21.0": [
        *GRACEFUL,
        (HTTP_TAKEN, "START-3", "pass", ""),
        (HTTP_TAKEN, "EXIT-5", "fail", "asyncio debris"),
        (TWO, "DRAIN-10", "pass", ""),
    ],
}
"""By release: scenario, requirement, verdict, and a part of the summary."""

BOTH_LINES = ("Event loop is closed", "coroutine 'AioServer.shutdown' was never awaited")
"""What the newer releases print when their HTTP port is taken."""


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """The runs of all releases that were selected, side by side; each makes its environment first."""
    folder = tmp_path_factory.mktemp("kserve")
    params = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {of_item["release"] for of_item in params if "release" in of_item}

    def one(release: str) -> Run:
        subprocess.run([str(KSERVE / "environment"), release], check=True, stdout=subprocess.DEVNULL)
        return run(KSERVE / release, report=folder / release, arguments=("-k", SELECTED[release]))

    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {release: pool.submit(one, release) for release in TRUTHS if release in wanted}
    pool.shutdown(cancel_futures=True)


def verdicts(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    return {(v["scenario"], v["requirement"]): (v["verdict"], v["summary"]) for v in run.results["verdicts"]}


@pytest.mark.parametrize("release", list(TRUTHS))
def test_the_truths_come_out_and_again_from_the_evidence(
    release: str, runs: dict[str, Future[Run]], tmp_path: Path
) -> None:
    live = runs[release].result()
    found = verdicts(live)
    for scenario, requirement, verdict, text in TRUTHS[release]:
        assert found[scenario, requirement][0] == verdict, f"{scenario} {requirement}\n{live.explain()}"
        assert text in found[scenario, requirement][1]
    assert not live.by_requirement("error"), live.explain()
    for (scenario, requirement), (verdict, summary) in found.items():
        for truth in truths():
            if truth.covers(release=release, requirement=requirement, scenario=scenario):
                assert verdict in truth.verdicts, f"{scenario} {requirement}: {summary}\nby hand: {truth.why}"
    if (HTTP_TAKEN, "EXIT-5", "fail", "asyncio debris") in TRUTHS[release]:
        details = next(
            v["details"]
            for v in live.results["verdicts"]
            if (v["scenario"], v["requirement"]) == (HTTP_TAKEN, "EXIT-5")
        )
        assert all(line in details for line in BOTH_LINES), details
    again = judge(live.report, report=tmp_path / "again")
    assert verdicts(again) == found
