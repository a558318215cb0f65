"""The hog: it takes memory until the kernel's count grows, and never outlives whoever started it.

Whether the kernel counts is what the tests with a real container say (tests/real); here the count is a file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.faults.container.hog import STEP, kills, take

FIRST = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
SECOND = "low 0\nhigh 0\nmax 5\noom 1\noom_kill {}\noom_group_kill 0\n"
PATIENCE = 60.0


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    path = tmp_path / "memory.oom_control"
    path.write_text(FIRST.format(3))
    return path


@pytest.fixture
def hog(counts: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "drainproof.faults.container.hog", str(counts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("text", [FIRST, SECOND], ids=["version 1", "version 2"])
def test_the_count_is_found_in_either_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "counts").write_text(text.format(42))
    assert kills(str(tmp_path / "counts")) == 42


def test_a_file_without_a_count_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "counts").write_text("under_oom 0\n")
    with pytest.raises(OSError, match="no count of kills"):
        kills(str(tmp_path / "counts"))


def test_it_takes_no_more_than_it_is_told_and_says_nothing_then(hog: subprocess.Popen[bytes]) -> None:
    said, _ = hog.communicate(f"{16 * STEP}\n".encode(), timeout=PATIENCE)
    assert (said, hog.returncode) == (b"", 0)


def test_it_ends_when_the_count_has_grown() -> None:
    counted = iter([3, 3, 3, 5])
    assert take(most=64 * STEP, count=lambda: next(counted), is_over=lambda: False) == 2
    assert next(counted, None) is None


FROM_A_SMALL_ONE = """
import os, subprocess, sys
hog = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE)
hog.stdin.write(sys.argv[1].encode())
hog.stdin.close()
_, status, used = os.wait4(hog.pid, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""
"""The kernel counts what a process was before its exec, too: the whole of pytest, which may be more than it takes."""


@pytest.mark.parametrize("told", ["", f"{1024 * STEP}\n"], ids=["while it waits", "while it takes"])
def test_it_ends_with_its_standard_input(counts: Path, told: str) -> None:
    command = [sys.executable, "-m", "drainproof.faults.container.hog", str(counts)]
    small = [sys.executable, "-c", FROM_A_SMALL_ONE, told]
    done = subprocess.run([*small, *command], capture_output=True, text=True, timeout=PATIENCE, check=True)
    status, most = map(int, done.stdout.split())
    assert status == 0
    assert 1024 * most < 512 * STEP
