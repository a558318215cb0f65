"""A ledger that cannot be written. A limit on the size of files stands for a full disk."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.errors import HarnessError
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Closed, Once
from faulty_server import FaultyServer
from playing import plan_for

LIMIT = 8192


@pytest.fixture
def limited() -> Iterator[LoadEngine]:
    """An engine that cannot write more than 8 KiB to any file but its standard error."""
    with LoadEngine() as engine:
        engine.start()
        assert engine.pid is not None
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        yield engine


def test_one_sentence_says_so(limited: LoadEngine, server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    plan = plan_for(server.port, Closed(name="closed", request="ok", users=2))
    with limited.run(plan=plan, ledger=path) as run:
        with pytest.raises(HarnessError) as told:
            run.wait_for(lambda _: False, until=time.monotonic() + 20)
    assert str(told.value) == f"the load engine failed: cannot write evidence to {path}: File too large"


def test_also_when_the_last_line_is_what_does_not_fit(
    limited: LoadEngine, server: FaultyServer, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    assert limited.pid is not None
    with limited.run(plan=plan_for(server.port, Once(name="o", request="hang", count=100)), ledger=path) as run:
        run.wait_for(lambda p: p.in_flight == 100, until=time.monotonic() + 20)
        with pytest.raises(HarnessError) as told:
            run.stop(grace=0)
    assert str(told.value) == f"the load engine failed: cannot write evidence to {path}: File too large"


def test_a_ledger_in_a_folder_that_is_gone(engine: LoadEngine, server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ledger.jsonl"
    with pytest.raises(HarnessError) as told:
        engine.run(plan=plan_for(server.port, Once(name="o", request="ok", count=1)), ledger=path)
    assert str(told.value) == f"the load engine failed: cannot write evidence to {path}: No such file or directory"
