"""A verdict does not flip on a busy machine: conforming/ is green while other processes keep every core busy.

DRAINPROOF_BUSY_RUNS=20 DRAINPROOF_SIDE_BY_SIDE=2 pytest -m real tests/real/test_busy.py    twenty runs in a row
DRAINPROOF_LAUNCH=container …                                                              the same in containers
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.runs import SERVERS, run

pytestmark = pytest.mark.real

RUNS = int(os.environ.get("DRAINPROOF_BUSY_RUNS", "1"))
SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "1"))
MODE = f"--launch={os.environ.get('DRAINPROOF_LAUNCH', 'process')}"


@pytest.fixture
def busy() -> Iterator[None]:
    """As many processes that do nothing but compute as there are cores."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 2)]
    yield
    for hog in hogs:
        hog.kill()
        hog.wait()


def test_conforming_stays_green(busy: None, tmp_path: Path) -> None:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        reports = [tmp_path / str(number) for number in range(RUNS)]
        runs = list(pool.map(lambda report: run(SERVERS / "conforming", report=report, arguments=[MODE]), reports))
    for outcome in runs:
        assert outcome.status == 0, outcome.explain()
        assert not outcome.by_requirement("fail", "note", "inconclusive", "error", "unsupported"), outcome.explain()
