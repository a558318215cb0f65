"""Facts that the verdicts of several scenarios carry."""

from __future__ import annotations

from pathlib import Path

import pytest
from drainproof.evidence import Evidence
from drainproof.recorder import Recorder
from drainproof.target.description import Target
from drainproof_scenarios._facts import exit_facts


def recorded(folder: Path, *, pids: list[int] | None, workers: int) -> Evidence:
    """The evidence of a stop, with that many workers declared and these processes seen to serve."""
    target = Target(
        name="tiny", folder=folder, manifest=None, command=("x",), working_directory=folder, readiness="/", requests=()
    )
    with Recorder(folder=folder / "evidence") as recorder:
        recorder.describe(target=target.to_json(), workers=workers)
        if pids is not None:
            recorder.event("servers", pids=pids, declared=workers)
        recorder.event("fault", t=1.0)
        recorder.event("exit", t=3.5, code=0, signal=None)
    return Evidence(folder / "evidence")


@pytest.mark.parametrize(
    ("pids", "workers", "more"),
    [
        ([7], 2, {"serving_processes": 1, "declared_workers": 2}),
        ([7, 8], 2, {"serving_processes": 2, "declared_workers": 2}),
        ([7], 1, {}),
        (None, 2, {}),
    ],
)
def test_a_stop_of_several_workers_says_how_many_were_seen_to_serve(
    tmp_path: Path, pids: list[int] | None, workers: int, more: dict[str, int]
) -> None:
    assert exit_facts(recorded(tmp_path, pids=pids, workers=workers)) == {"exit_after_s": 2.5, **more}
