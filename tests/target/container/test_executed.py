"""Which processes came into a container from outside, and when they ended: here of a group that is a list."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from drainproof.target.container.executed import ExecutedProcesses

WITH_A_CHILD = "import subprocess, sys; c = subprocess.Popen(['cat']); print(c.pid, flush=True); input(); c.kill()"


@pytest.fixture
def group() -> list[int]:
    return []


@pytest.fixture
def seen(group: list[int]) -> Iterator[ExecutedProcesses]:
    before = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    group.append(before.pid)
    with contextlib.closing(ExecutedProcesses(members=lambda: group)) as made:
        made.watch(until=time.monotonic())
        assert made.of(before.pid) is None, "it was there before"
        yield made
    before.communicate()


def test_the_times_of_a_process_are_its_own(group, seen):
    asked = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    begun = time.monotonic()
    group += [process.pid, child]
    seen.watch(until=begun)
    assert seen.of(child) is None, "its parent is in the group"
    found = seen.of(process.pid)
    assert found is not None and found.ended is None
    assert asked - 0.02 <= found.started <= begun
    before = time.monotonic()
    process.communicate("\n")
    seen.watch(until=time.monotonic())
    assert found.ended is not None and before <= found.ended
    ended = found.ended
    seen.watch(until=time.monotonic())
    assert found.ended == ended


def test_no_descriptor_is_left(group):
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    with contextlib.closing(ExecutedProcesses(members=lambda: group)) as seen:
        process = subprocess.Popen(["true"])
        group += [process.pid, 2**22 + 1]
        seen.watch(until=time.monotonic())
        assert seen.of(2**22 + 1) is None, "there is none of that number"
        process.wait()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
