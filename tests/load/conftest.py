from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.load.driver import LoadEngine
from faulty_server import FaultyServer


@pytest.fixture(scope="session")
def engine() -> Iterator[LoadEngine]:
    with LoadEngine() as engine:
        yield engine


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"
