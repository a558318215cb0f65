"""KServe releases from PyPI get the verdicts that were measured on them by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, Run, keep, run
from tests.reference_servers.truths import truths

pytestmark = pytest.mark.real

KSERVE = SERVERS / "kserve"
SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "2"))
"""Not more: two workers of the newer releases that take over 5 s to start are killed and started anew, for ever."""

ONE_WORKER = "(TestStopUnderLoad and main-1w)"
TWO_WORKERS = "[SIGTERM-main-2w]"
PORT = "TestPortTaken and 1w"
INSIDE = (
    "(TestProtocolTask and rest-idle-1w) or (TestInTheLoop and callback-1w) or "
    "(TestStartMethodPreset and spawn-2w) or (TestStartAndCtrlC and 1w)"
)
SELECTED = {
    "0.11.2": f"({PORT}) or {INSIDE}",
    "0.13.1": f"({PORT}) or {ONE_WORKER} or (TestStopUnderLoad and {TWO_WORKERS}) or {INSIDE}",
    "0.15.2": f"({PORT}) or {ONE_WORKER} or {INSIDE}",
    "0.21.0": f"({PORT}) or {ONE_WORKER} or (TestStopUnderLoad and {TWO_WORKERS}) or {INSIDE}",
}

ENDS = ("EXIT-1", "DRAIN-10")
STOPS = [f"drain.TestStopUnderLoad[{name}-main-1w]" for name in ("SIGTERM", "SIGINT")]
ANSWERED = [(scenario, "DRAIN-1", "pass", "") for scenario in STOPS]
GRACEFUL = [*ANSWERED, *((scenario, requirement, "pass", "") for scenario in STOPS for requirement in ENDS)]
HTTP_TAKEN = "start.TestPortTaken[1w-http]"
TWO = "drain.TestStopUnderLoad[SIGTERM-main-2w]"
REST_DIES = "exceptions.TestProtocolTask[rest-idle-1w]"
CALLBACK = "exceptions.TestInTheLoop[callback-1w]"
SPAWN = "start_methods.TestStartMethodPreset[spawn-2w]"
WINDOWS = "windows.TestStartAndCtrlC[1w]"
FIXED = [
    (REST_DIES, "EXC-4", "pass", "ended with status 1"),
    (REST_DIES, "EXIT-5", "fail", "asyncio debris"),
    (SPAWN, "START-5", "pass", ""),
    (WINDOWS, "WIN-1", "pass", ""),
    (WINDOWS, "WIN-3", "pass", ""),
    (CALLBACK, "EXC-4", "pass", "survived"),
    (CALLBACK, "EXIT-5", "pass", ""),
]
TRUTHS: dict[str, list[tuple[str, str, str, str]]] = {
    "0.11.2": [
        (HTTP_TAKEN, "START-3", "fail", "it hangs"),
        (REST_DIES, "EXC-4", "fail", "did not end"),
        (REST_DIES, "EXIT-5", "fail", "asyncio debris"),
        (SPAWN, "START-5", "fail", "not ready within"),
        (WINDOWS, "WIN-1", "fail", "not ready within"),
        (CALLBACK, "EXC-4", "pass", "survived"),
        (CALLBACK, "EXIT-5", "pass", ""),
    ],
    "0.13.1": [
        *ANSWERED,
        (HTTP_TAKEN, "START-3", "pass", ""),
        (HTTP_TAKEN, "EXIT-5", "pass", ""),
        (TWO, "DRAIN-10", "fail", "still alive"),
        (REST_DIES, "EXC-4", "pass", "ended with status 1"),
        (REST_DIES, "EXIT-5", "pass", ""),
        (SPAWN, "START-5", "fail", "ended with status 1"),
        (WINDOWS, "WIN-1", "fail", "ended with status 1"),
        (CALLBACK, "EXC-4", "pass", "survived"),
        (CALLBACK, "EXIT-5", "fail", "'ModelServer.stop' was never awaited"),
    ],
    "0.15.2": [
        *GRACEFUL,
        *FIXED,
        (HTTP_TAKEN, "START-3", "pass", ""),
        (HTTP_TAKEN, "EXIT-5", "fail", "asyncio debris"),
    ],
    "0.21.0": [
        *GRACEFUL,
        *FIXED,
        (HTTP_TAKEN, "START-3", "pass", ""),
        (HTTP_TAKEN, "EXIT-5", "fail", "asyncio debris"),
        (TWO, "DRAIN-10", "pass", ""),
    ],
}
"""By release: scenario, requirement, verdict, and a part of the summary."""

BOTH_LINES = ("Event loop is closed", "coroutine 'AioServer.shutdown' was never awaited")
"""What is printed where an event loop is torn down around a gRPC server."""
SAID = {(SPAWN, "START-5"): "context has already been set", (WINDOWS, "WIN-1"): "NotImplementedError"}
"""What a release says that fails there."""


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    """The runs of all releases that were selected, side by side; each makes its environment first."""
    folder = tmp_path_factory.mktemp("kserve")
    here = [item for item in request.session.items if item.path == Path(__file__)]
    wanted = {item.callspec.params["release"] for item in here if hasattr(item, "callspec")}
    if not all(hasattr(item, "callspec") for item in here):
        wanted |= {"0.13.1", "0.21.0"}

    def one(release: str) -> Run:
        subprocess.run([str(KSERVE / "environment"), release], check=True, stdout=subprocess.DEVNULL)
        done = run(KSERVE / release, report=folder / release, arguments=("-k", SELECTED[release]))
        keep(done, name=f"kserve-{release}")
        return done

    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {release: pool.submit(one, release) for release in TRUTHS if release in wanted}
    pool.shutdown(cancel_futures=True)


def verdicts(run: Run) -> dict[tuple[str, str], tuple[str, str]]:
    return {(v["scenario"], v["requirement"]): (v["verdict"], v["summary"]) for v in run.results["verdicts"]}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command `drainproof`, as it is installed beside this Python."""
    path = Path(sys.executable).with_name("drainproof")
    return subprocess.run([str(path), *arguments], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("release", list(TRUTHS))
def test_the_truths_come_out_and_again_from_the_evidence(release: str, runs: dict[str, Future[Run]]) -> None:
    live = runs[release].result()
    found = verdicts(live)
    for scenario, requirement, verdict, text in TRUTHS[release]:
        assert found[scenario, requirement][0] == verdict, f"{scenario} {requirement}\n{live.explain()}"
        assert text in found[scenario, requirement][1]
    if set(STOPS) <= {scenario for scenario, _ in found}:
        # Of the release that may not end by chance (a connection that came too late to be told), one run of the two.
        ended = [all(found[stop, requirement][0] == "pass" for requirement in ENDS) for stop in STOPS]
        assert any(ended), live.explain()
    assert not live.by_requirement("error"), live.explain()
    for v in live.results["verdicts"]:
        for truth in truths("kserve"):
            if truth.covers(release=release, requirement=v["requirement"], scenario=v["scenario"]):
                said = f"{v['scenario']} {v['requirement']}: {v['summary']}\nby hand: {truth.why}"
                assert v["verdict"] in truth.verdicts, said
    details = {(v["scenario"], v["requirement"]): v["details"] for v in live.results["verdicts"]}
    for scenario in (HTTP_TAKEN, REST_DIES):
        if (scenario, "EXIT-5", "fail", "asyncio debris") in TRUTHS[release]:
            assert all(line in details[scenario, "EXIT-5"] for line in BOTH_LINES), details[scenario, "EXIT-5"]
    for key, text in SAID.items():
        if found[key][0] == "fail":
            assert text in details[key], details[key]
    # grpcio decides what becomes of exceptions, so no verdict goes without its version.
    for timeline in live.report.glob("evidence/*/*/timeline.jsonl"):
        events = [json.loads(line) for line in timeline.read_text(encoding="utf-8").splitlines()]
        packages = next(event["packages"] for event in events if event["event"] == "environment")
        assert {"grpcio", "kserve", "uvicorn", "uvloop"} <= packages.keys(), timeline
    done = command("check", str(live.report))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_comparison_names_what_the_fixed_release_mended(runs: dict[str, Future[Run]]) -> None:
    """And what it broke: an exit status of 1 makes it a gate."""
    old, new = (runs[release].result().report for release in ("0.13.1", "0.21.0"))
    done = command("compare", "--json", str(old), str(new))
    assert done.returncode == 1, done.stdout + done.stderr
    changes = {(c["scenario"], c["requirement"]): c["kind"] for c in json.loads(done.stdout)["changes"]}
    mended = [(SPAWN, "START-5"), (WINDOWS, "WIN-1"), (CALLBACK, "EXIT-5"), (TWO, "DRAIN-10")]
    assert {key: changes.get(key) for key in mended} == dict.fromkeys(mended, "better"), done.stdout
    assert changes[HTTP_TAKEN, "EXIT-5"] == "worse", done.stdout
