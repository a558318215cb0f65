"""The broken servers: each starts, answers and stops, except where that is what is broken about it.

Whether each fails exactly its own requirement is what the kill matrix says (tests/real).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from drainproof import requirement
from drainproof.target.manifest import load_target

from tests.reference_servers.running import BROKEN, CONFORMING, Running

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

FOLDERS = sorted(path.parent for path in BROKEN.glob("*/server.py"))
PROCESSES = [folder for folder in FOLDERS if load_target(folder).launch == "process"]

COVERED = {
    *(f"START-{n}" for n in (1, 2, 3, 4, 5, 6, 7)),
    *(f"DRAIN-{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)),
    *(f"EXC-{n}" for n in (1, 2, 3, 4, 5, 6, 7)),
    *(f"EXIT-{n}" for n in (1, 2, 3, 4, 5, 6)),
    *(f"WIN-{n}" for n in (1, 2, 3)),
    *(f"CONT-{n}" for n in (1, 2, 3, 4, 5)),
    "ROLL-1",
    *(f"WORK-{n}" for n in range(1, 10)),
}
"""The requirements that have scenarios."""

STATUS = {"exits-1-on-sigterm": 1}
"""Exit status after SIGTERM; 0 for all others."""


def expected(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "expected.toml").read_text())


def test_every_requirement_has_a_server_that_breaks_it() -> None:
    assert {id_ for folder in FOLDERS for id_ in expected(folder)["fails"]} == COVERED


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
class TestFolder:
    def test_it_says_which_requirement_it_breaks(self, folder: Path) -> None:
        said = expected(folder)
        assert set(said) <= {"fails", "inconclusive"}
        assert len(said["fails"]) == 1
        assert requirement.get(said["fails"][0])
        first_line = (folder / "server.py").read_text().splitlines()[0]
        assert first_line.endswith(f'({said["fails"][0]})."""')


@pytest.mark.parametrize("folder", PROCESSES, ids=lambda folder: folder.name)
class TestProcess:
    def test_its_manifest_is_the_conforming_one_but_for_times_and_workers(self, folder: Path) -> None:
        target, conforming = load_target(folder), load_target(CONFORMING)
        assert target.name == folder.name
        without_grpc = conforming.command[: conforming.command.index("--grpc-port")]
        assert target.command[: len(without_grpc)] == without_grpc
        known = {(r.name, r.protocol, r.method, r.path) for r in conforming.requests}
        requests = {(r.name, r.protocol, r.method, r.path) for r in target.requests}
        assert {"fast", "slow", "large", "endless"} <= {name for name, *_ in requests}
        assert requests <= known
        assert (target.readiness, target.liveness) == (conforming.readiness, conforming.liveness)
        assert (target.load_failure, target.fatal) == (conforming.load_failure, conforming.fatal)

    def test_it_starts_answers_and_stops(self, folder: Path, lives: dict[Path, Future[int]]) -> None:
        assert lives[folder].result() == STATUS.get(folder.name, 0)


@pytest.fixture(scope="module")
def lives(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, Future[int]]]:
    """The lives of the selected servers, side by side because a life is mostly waiting: their exit statuses."""
    tmp = tmp_path_factory.mktemp("lives")
    selected = {
        item.callspec.params["folder"]
        for item in request.session.items
        if item.path == Path(__file__) and hasattr(item, "callspec")
    }
    with ThreadPoolExecutor(8) as pool:
        yield {folder: pool.submit(live, folder, tmp) for folder in selected}


def live(folder: Path, tmp: Path) -> int:
    """Starts a server, asks it for a prediction, stops it by SIGTERM, and returns its exit status."""
    (tmp / folder.name).mkdir()
    with Running(folder, tmp=tmp / folder.name) as server:
        return server.await_serving().stop()
