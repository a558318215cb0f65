"""Control groups of both versions, as files; one of them is on this machine, and tests/real has it from the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest
from drainproof.errors import HarnessError, Unsupported
from drainproof.faults.container.groups import MemoryGroup, freezer_state, times_held_back

MIB = 2**20

FIRST = {
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
    "memory.usage_in_bytes": f"{90 * MIB}\n",
    "memory.limit_in_bytes": f"{128 * MIB}\n",
    "memory.stat": f"cache 5\ninactive_file 1\ntotal_cache 5\ntotal_inactive_file {10 * MIB}\n",
    "cgroup.procs": "41\n42\n",
}
SECOND = {
    "memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 7\noom_group_kill 0\n",
    "memory.current": f"{90 * MIB}\n",
    "memory.max": f"{128 * MIB}\n",
    "memory.stat": f"anon 5\nfile 6\ninactive_file {10 * MIB}\n",
    "cgroup.procs": "41\n42\n",
}
UNLIMITED = {"memory.limit_in_bytes": "9223372036854771712\n", "memory.max": "max\n"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(params=[FIRST, SECOND], ids=["version 1", "version 2"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(tmp_path, request.param)


def test_what_is_only_cached_is_not_in_use(memory: Path) -> None:
    assert MemoryGroup(memory).used() == 80 * MIB


def test_a_group_that_counts_can_be_used(memory: Path) -> None:
    MemoryGroup(memory).require_access()


def test_a_kernel_that_does_not_count_proves_nothing(memory: Path) -> None:
    write(memory, {MemoryGroup(memory).counts.name: "under_oom 0\n"})
    with pytest.raises(Unsupported, match="does not count whom it kills"):
        MemoryGroup(memory).require_access()


def test_the_hog_takes_nothing_unless_it_is_in_the_group(memory: Path) -> None:
    MemoryGroup(memory).require_limit(128 * MIB, pid=42)
    with pytest.raises(HarnessError, match="could not be moved"):
        MemoryGroup(memory).require_limit(128 * MIB, pid=43)


def test_the_hog_takes_nothing_unless_the_limit_is_in_force(memory: Path) -> None:
    with pytest.raises(HarnessError, match="accepted a memory limit of 1000 bytes, and the kernel has"):
        MemoryGroup(memory).require_limit(1000, pid=42)
    write(memory, {name: text for name, text in UNLIMITED.items() if (memory / name).exists()})
    with pytest.raises(HarnessError, match="accepted a memory limit"):
        MemoryGroup(memory).require_limit(128 * MIB, pid=42)


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"freezer.state": "FROZEN\n"}, "frozen"),
        ({"freezer.state": "THAWED\n"}, "thawed"),
        ({"freezer.state": "FREEZING\n"}, "freezing"),
        ({"cgroup.events": "populated 1\nfrozen 1\n"}, "frozen"),
        ({"cgroup.events": "populated 1\nfrozen 0\n"}, "thawed"),
        ({}, "not to be seen"),
    ],
)
def test_the_state_of_a_freezer(tmp_path: Path, files: dict[str, str], state: str) -> None:
    assert freezer_state(write(tmp_path, files)) == state


@pytest.mark.parametrize(
    ("files", "times"),
    [
        ({"cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 100\n"}, 4),
        ({"cpu.stat": "usage_usec 5\nuser_usec 1\nsystem_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1\n"}, 4),
        ({"cpu.stat": "usage_usec 5\n"}, 0),
        ({}, 0),
    ],
    ids=["version 1", "version 2", "without a limit", "gone"],
)
def test_how_often_a_group_was_held_back(tmp_path: Path, files: dict[str, str], times: int) -> None:
    assert times_held_back(write(tmp_path, files)) == times
