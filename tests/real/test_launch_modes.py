"""conforming/ keeps every promise in the other launch modes as well: as PID 1 of a container, and as a systemd unit.

And a real release of KServe gets the verdicts in a container that were checked by hand.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.real.engine import require_engine
from tests.real.runs import SERVERS, run

pytestmark = pytest.mark.real


@pytest.mark.parametrize("mode", ["container", "systemd"])
def test_conforming_passes_everything_that_applies(mode: str, tmp_path: Path) -> None:
    if mode == "container":
        require_engine()
    outcome = run(SERVERS / "conforming", report=tmp_path, arguments=[f"--launch={mode}"])
    assert outcome.status == 0, outcome.explain()
    assert outcome.by_requirement("fail", "note", "inconclusive", "error", "unsupported") == set(), outcome.explain()


KSERVE = {
    ("containers.TestStopOfTheContainer[1w]", "CONT-1"): ("pass", "status 0"),
    ("drain.TestStopUnderLoad[SIGTERM-main-1w]", "DRAIN-1"): ("pass", ""),
    ("drain.TestStopUnderLoad[SIGTERM-main-1w]", "DRAIN-10"): ("pass", ""),
    ("drain.TestStopUnderLoad[SIGTERM-main-1w]", "EXIT-1"): ("pass", "exit status 0"),
    # It closes its port right after SIGTERM, and nothing (no preStop hook) lets the endpoint's removal come first.
    ("pods.TestPodTermination[1.0]", "CONT-2"): ("fail", "refused"),
    ("pods.TestPodTermination[1.0]", "CONT-3"): ("pass", ""),
}
"""By scenario and requirement: the verdict, and a part of what is said."""


def test_kserve_in_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_engine()
    if "BASE" in os.environ:
        monkeypatch.setenv("BASE", "drainproof/python:local")  # its packages are its own
    wanted = " or ".join(sorted({scenario for scenario, _ in KSERVE}))
    outcome = run(SERVERS / "kserve" / "0.21.0", report=tmp_path, arguments=["--launch=container", "-k", wanted])
    seen = {(v["scenario"], v["requirement"]): (v["verdict"], v["summary"]) for v in outcome.results["verdicts"]}
    for what, (verdict, said) in KSERVE.items():
        assert seen[what][0] == verdict and said in seen[what][1], f"{what}: {seen[what]}\n{outcome.explain()}"
