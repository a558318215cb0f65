"""What a session leaves that was killed together with its keepers, and what the next one makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from drainproof.target import abandoned, tree

HARNESS = """
import os, sys, time
from pathlib import Path
from drainproof.target.process import launch_command
folder = Path(sys.argv[1])
TARGET = '''
import os, time
open(os.environ["TMPDIR"] + "/model.bin", "w").close()
if os.fork() == 0:
    os.setsid()
print("up", flush=True)
time.sleep(600)
'''
instance = launch_command(command=[sys.executable, "-I", "-S", "-c", TARGET], environment={}, working_directory=folder,
                          output=folder / "output.jsonl")
while "up" not in instance.tail():
    time.sleep(0.01)
print(instance.tmp, instance._link.keeper_pid, instance.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_folder_is_removed_as_soon_as_nobody_is_left(tmp_path, eventually):
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as harness:
        assert harness.stdout is not None
        name, keeper, main = harness.stdout.readline().split()
        tmp = Path(name)
        assert abandoned.remove_abandoned() == []  # its keeper lives
        orphan = next(stat.pid for stat in tree.descendants(int(keeper)) if stat.pid != int(main))
        try:
            harness.send_signal(signal.SIGSTOP)  # so that it cannot clean up for the keeper: both in the same moment
            os.kill(int(keeper), signal.SIGKILL)
            harness.kill()
            harness.wait()
            assert (tmp / "model.bin").exists()
            assert abandoned.remove_abandoned() == []  # a process of the target lives
        finally:
            os.kill(orphan, signal.SIGKILL)
    eventually(lambda: tree.read_stat(orphan) is None or not tree.read_stat(orphan).alive)
    assert abandoned.remove_abandoned() == [tmp]
    assert not tmp.exists()


def test_what_only_looks_like_it_stays(tmp_path):
    (tmp_path / "dp-0123456789abcdef").mkdir()
    (tmp_path / "dp-0123456789ab.new").mkdir()
    (tmp_path / "dp-0123456789ab").write_text("a file")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "dp-000000000000").symlink_to(tmp_path / "theirs")
    before = sorted(tmp_path.iterdir())
    assert abandoned.remove_abandoned() == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_running_target_keeps_its_folder_and_finds_it_empty(start, tmp_path, output):
    from drainproof.target.process import fresh_tmp

    tmp = fresh_tmp()
    code = "import os; print(os.listdir(os.environ['TMPDIR']), os.environ['TMPDIR'], flush=True)"
    with start(code, tmp=tmp) as instance:
        assert instance.wait_gone(until=float("inf")) is not None  # nobody of the target is left, its keeper is
        assert abandoned.remove_abandoned() == []
        assert tmp.is_dir()
        assert not list(tmp_path.glob("*.new"))
    assert not tmp.exists()
    assert output()[0]["text"] == f"[] {tmp}"
