"""conforming/ keeps every promise in the other launch modes as well: as PID 1 of a container, and as a systemd unit."""

from __future__ import annotations

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
