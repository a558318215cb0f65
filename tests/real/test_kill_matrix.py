"""The oracle bites: every broken reference server fails exactly the requirements that it breaks.

That conforming/ fails none is what test_busy and test_launch_modes show. Experiments wait more than they work, so
several runs go side by side. A broken server goes through the scenarios that concern it; DRAINPROOF_WHOLE_MATRIX=1
sends all servers through all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.engine import require_engine
from tests.real.matrix import expected_failures, expected_inconclusive, in_container, selected, servers
from tests.real.runs import Run, run

pytestmark = pytest.mark.real

SIDE_BY_SIDE = int(os.environ.get("DRAINPROOF_SIDE_BY_SIDE", "6"))


def selection(server: Path) -> list[str]:
    """What is run: what concerns the server, with signals to its main process, or everything."""
    if os.environ.get("DRAINPROOF_WHOLE_MATRIX"):
        return []
    return ["-k", f"({' or '.join(selected(server))}) and not -group-"]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Future[Run]]]:
    """The runs of all servers that were selected, begun at once and finished one by one."""
    folder = tmp_path_factory.mktemp("matrix")
    wanted = {
        item.callspec.params["server"]
        for item in request.session.items
        if hasattr(item, "callspec") and "server" in item.callspec.params
    }
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {
        server: pool.submit(run, server, report=folder / server.name, arguments=selection(server))
        for server in servers()
        if server in wanted
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("server", servers(), ids=lambda path: path.name)
def test_fails_exactly_its_own_requirements(server: Path, runs: dict[Path, Future[Run]]) -> None:
    if in_container(server):
        require_engine()
    outcome = runs[server].result()
    expected = expected_failures(server)
    assert not outcome.results["aborted"], outcome.output[-3000:]
    assert outcome.by_requirement("error") == set(), outcome.explain()
    assert outcome.by_requirement("fail", "note") == expected, outcome.explain()
    assert outcome.by_requirement("inconclusive") <= expected | expected_inconclusive(server), outcome.explain()
