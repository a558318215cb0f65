"""Births and deaths of real processes, seen from outside."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence.lives import Lives
from drainproof.probes import births
from drainproof.probes.births import BirthWatch
from drainproof.probes.processes import ProcessSample, sample_one
from drainproof.target.process import ProcessInstance, launch_command

PARENT = """
import os, subprocess, sys, time
for line in sys.stdin:
    pass
say = lambda text: print(text, flush=True)
for number in range(3):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)", str(number)])
    child.wait()
zombie = os.fork() or os._exit(0)
say("done")
time.sleep(60)
"""


class Timeline:
    """What the watch records; events may come from several threads."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.changed = threading.Condition()

    def record(self, event: str, /, *, t: float | None = None, **values: Any) -> None:
        with self.changed:
            self.events.append({"t": time.monotonic() if t is None else t, "event": event, **values})
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[Lives], bool]) -> Lives:
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.lives), timeout=30)
            return self.lives

    @property
    def lives(self) -> Lives:
        return Lives(list(self.events), kin=None)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[ProcessInstance]:
    running = launch_command(
        command=[sys.executable, "-c", PARENT],
        environment={},
        working_directory=tmp_path,
        output=tmp_path / "output.jsonl",
    )
    with running:
        yield running


def test_each_process_is_born_and_dies_once(instance: ProcessInstance) -> None:
    timeline = Timeline()
    seen: list[ProcessSample] = []
    watch = BirthWatch(instance=instance, record=timeline.record)
    watch.each_birth(seen.append)
    watch.start()
    timeline.wait_for(lambda lives: sum(life.died is not None for life in lives.all) >= 3)
    # The fork is a zombie for as long as its parent lives: dead once, and not again and again.
    pause = time.monotonic() + 0.5
    instance.wait_exit(until=pause)
    watch.stop()
    lives = timeline.lives
    children = [
        life for life in lives.all if life.parent == instance.pid and life.cmdline[-1:] in (("0",), ("1",), ("2",))
    ]
    assert [life.cmdline[-1] for life in children] == ["0", "1", "2"]
    for before, after in pairwise(children):
        assert before.died is not None and before.born < before.died
        assert after.born >= before.born + 0.19  # one is awaited before the next is begun
    born = [(event["pid"], event["t"]) for event in timeline.events if event["event"] == "born"]
    assert len(born) == len(set(born))
    assert {one.pid for one in seen} >= {life.pid for life in children}
    assert timeline.events[-1]["event"] == "watched"


def test_a_death_just_before_the_end_is_told(instance: ProcessInstance) -> None:
    timeline = Timeline()
    watch = BirthWatch(instance=instance, record=timeline.record)
    watch.start()
    timeline.wait_for(lambda lives: any(life.pid == instance.pid for life in lives.all))
    instance.end_processes()
    watch.stop()
    (main,) = [life for life in timeline.lives.all if life.pid == instance.pid]
    assert main.died is not None


def test_one_that_lets_go_of_its_program_at_its_end_is_still_what_it_was(
    instance: ProcessInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: dict[int, int] = {}
    nameless: set[int] = set()
    """Those that had let go of it by themselves when they were first seen: too short a life for a busy machine."""

    def without_program_later(*, pid: int) -> ProcessSample | None:
        looks[pid] = looks.get(pid, 0) + 1
        sample = sample_one(pid=pid)
        if looks[pid] == 1 and (sample is None or not sample.exe):
            nameless.add(pid)
        return sample if sample is None or looks[pid] < 3 else replace(sample, exe="")

    monkeypatch.setattr(births, "sample_one", without_program_later)
    timeline = Timeline()
    watch = BirthWatch(instance=instance, record=timeline.record)
    watch.start()
    lives = timeline.wait_for(lambda lives: sum(life.died is not None for life in lives.all) >= 3)
    watch.stop()
    assert max(count for pid, count in looks.items() if pid not in nameless) >= 3
    assert all(life.exe for life in lives.all if life.pid not in nameless)


def test_a_signal_reaches_the_one_that_was_seen_and_nobody_else(instance: ProcessInstance) -> None:
    timeline = Timeline()
    watch = BirthWatch(instance=instance, record=timeline.record)
    watch.start()
    timeline.wait_for(lambda lives: any(life.pid == instance.pid for life in lives.all))
    (one,) = (sample for sample in watch.living() if sample.pid == instance.pid)
    with pytest.raises(ProcessLookupError):
        watch.send(replace(one, created=one.created - 1.0), signal.SIGKILL)
    assert instance.exit_status() is None
    watch.send(one, signal.SIGKILL)
    assert instance.wait_exit(until=time.monotonic() + 30) is not None
    timeline.wait_for(lambda lives: any(life.pid == instance.pid and life.died is not None for life in lives.all))
    with pytest.raises(ProcessLookupError):
        watch.send(one, signal.SIGKILL)
    watch.stop()
