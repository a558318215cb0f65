"""Real supervisors whose workers own the connections: gunicorn with the workers of uvicorn, and KServe with two."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, run
from tests.reference_servers.truths import truths

pytestmark = pytest.mark.real

DIES = "(TestWorkerDies or TestWorkerStandsStill or TestEveryWorkerDies or TestSupervisorDies) and 2w"
KEPT = [
    *((f"workers.TestWorkerDies[{name}-2w]", id) for name in ("SIGKILL", "SIGSEGV") for id in ("WORK-2", "WORK-3")),
    ("workers.TestWorkerStandsStill[2w]", "WORK-2"),
]
"""WORK-1 is left to the truths: a busy machine is enough for KServe to kill the new worker again and again."""
BROKEN = [("workers.TestEveryWorkerDies[2w]", "WORK-8"), ("workers.TestSupervisorDies[2w]", "WORK-9")]


@pytest.mark.parametrize(
    ("server", "release", "selected"),
    [
        ("gunicorn", "27.0.1", f"({DIES}) or TestNoWorkerEverLoads or (test_every_worker_serves and 2w)"),
        ("kserve", "0.21.0", DIES),
    ],
)
def test_the_truths_come_out(tmp_path: Path, server: str, release: str, selected: str) -> None:
    subprocess.run([str(SERVERS / server / "environment"), release], check=True, stdout=subprocess.DEVNULL)
    live = run(SERVERS / server / release, report=tmp_path / "report", arguments=("-k", selected))
    found = {(v["scenario"], v["requirement"]): v["verdict"] for v in live.results["verdicts"]}
    for one in KEPT:
        assert found[one] == "pass", f"{one}\n{live.explain()}"
    for one in BROKEN:
        assert found[one] == "fail", f"{one}\n{live.explain()}"
    for (scenario, id), verdict in found.items():
        for truth in truths(server):
            if truth.covers(release=release, requirement=id, scenario=scenario):
                assert verdict in truth.verdicts, f"{scenario} {id}\n{truth.why}\n{live.explain()}"
