"""How a unit is stopped (emulated), on real processes: who gets which signal, and when."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from drainproof.target.process import launch_command
from drainproof.target.systemd import SystemdInstance
from drainproof.target.systemd_spec import KILLED, SystemdSpec

PROGRAM = r"""
import os, signal, sys, time

who = "main"
ends_on_term = set(sys.argv[1:])

def hear(number, frame):
    os.write(1, f"{who} {signal.Signals(number).name}\n".encode())  # a handler may interrupt a print
    if number == signal.SIGTERM and who in ends_on_term:
        os._exit(0)

for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, hear)
if os.fork() == 0:
    who = "daemon"  # forks twice, and leaves session and group
    os.setsid()
    if os.fork():
        os._exit(0)
os.write(1, f"{who} ready\n".encode())
while True:
    time.sleep(60)
"""

Record = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def events() -> Record:
    return []


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Callable[..., SystemdInstance]]:
    """Starts the program; those that are named end on SIGTERM."""
    with ExitStack() as stack:

        def start(*ending: str, **spec: Any) -> SystemdInstance:
            instance = launch_command(
                command=[sys.executable, "-I", "-S", "-c", PROGRAM, *ending],
                environment={},
                working_directory=tmp_path,
                output=tmp_path / "output.jsonl",
                make=partial(SystemdInstance, spec=SystemdSpec(**spec)),
            )
            stack.callback(instance.end)
            assert isinstance(instance, SystemdInstance)
            wait_for(lambda: {"main ready", "daemon ready"} <= said(instance))
            return instance

        yield start


def said(instance: SystemdInstance) -> set[str]:
    return set(instance.tail(50).splitlines())


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.01)


def stop(instance: SystemdInstance, events: Record, number: int = signal.SIGTERM) -> list[int]:
    return instance.send_unit(number, record=lambda event, **values: events.append((event, values)))


def test_control_group_everybody_gets_it_at_once(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit("main", "daemon", timeout_stop=60.0)
    reached = stop(instance, events)
    assert len(reached) == 2 and instance.pid in reached
    assert instance.wait_gone(until=time.monotonic() + 30.0) is not None
    assert said(instance) >= {"main SIGTERM", "daemon SIGTERM"}
    assert events == [], "nobody was left to be killed"


def test_control_group_kills_who_is_left_when_the_time_is_over(
    unit: Callable[..., SystemdInstance], events: Record
) -> None:
    instance = unit("main", timeout_stop=0.8)
    began = time.monotonic()
    stop(instance, events)
    gone = instance.wait_gone(until=time.monotonic() + 30.0)
    assert gone is not None and gone >= began + 0.8
    ((event, values),) = events
    assert event == KILLED and values["timeout"] and not values["main"]
    assert values["signal"] == "SIGKILL" and "emulated" in values["because"]
    assert len(values["processes"]) == 1 and values["processes"][0]["pid"] != instance.pid
    assert instance.exit_status().code == 0  # type: ignore[union-attr]


def test_mixed_the_others_are_killed_when_the_main_process_has_ended(
    unit: Callable[..., SystemdInstance], events: Record
) -> None:
    instance = unit("main", kill_mode="mixed", timeout_stop=60.0)
    assert stop(instance, events) == [instance.pid]
    assert instance.wait_gone(until=time.monotonic() + 30.0) is not None
    assert "daemon SIGTERM" not in said(instance)
    ((_, values),) = events
    assert not values["timeout"] and not values["main"] and "main process had ended" in values["because"]


def test_mixed_all_are_killed_when_the_time_is_over(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(kill_mode="mixed", timeout_stop=0.5)
    stop(instance, events)
    assert instance.wait_gone(until=time.monotonic() + 30.0) is not None
    assert instance.exit_status().signal == signal.SIGKILL  # type: ignore[union-attr]
    ((_, values),) = events
    assert values["timeout"] and values["main"] and len(values["processes"]) == 2


def test_process_the_others_are_left_alone(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(kill_mode="process", timeout_stop=0.5)
    stop(instance, events)
    status = instance.wait_exit(until=time.monotonic() + 30.0)
    assert status is not None and status.signal == signal.SIGKILL
    assert len(instance.processes()) == 1, "the daemon lives on"
    assert "daemon SIGTERM" not in said(instance)


def test_without_a_final_signal_nobody_is_killed(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(timeout_stop=0.2, send_sigkill=False)
    stop(instance, events)
    wait_for(lambda: instance._stopping is not None and not instance._stopping.is_alive())
    assert events == [] and len(instance.processes()) == 2


def test_another_final_signal(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(timeout_stop=0.2, final_kill_signal="SIGQUIT")
    stop(instance, events)
    status = instance.wait_exit(until=time.monotonic() + 30.0)
    assert status is not None and status.signal == signal.SIGQUIT


def test_sighup_follows_where_it_is_wanted(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(timeout_stop=60.0, send_sighup=True)
    stop(instance, events)
    wait_for(lambda: {"main SIGHUP", "daemon SIGHUP"} <= said(instance))


def test_who_is_stopped_is_continued(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit("main", "daemon", timeout_stop=60.0)
    for process in instance.processes():
        os.kill(process.pid, signal.SIGSTOP)
    stop(instance, events)
    assert instance.wait_gone(until=time.monotonic() + 30.0) is not None


def test_another_signal_goes_to_all_and_nothing_follows(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(kill_mode="process", timeout_stop=0.1)
    assert len(stop(instance, events, signal.SIGINT)) == 2
    wait_for(lambda: {"main SIGINT", "daemon SIGINT"} <= said(instance))
    assert instance._stopping is None and events == []


def test_a_second_stop_is_heard_and_does_not_prolong_the_first(
    unit: Callable[..., SystemdInstance], events: Record
) -> None:
    instance = unit(timeout_stop=1.0)
    stop(instance, events)
    first = instance._stopping
    stop(instance, events)
    assert instance._stopping is first
    assert instance.wait_gone(until=time.monotonic() + 30.0) is not None
    assert len(events) == 1


def test_one_that_has_ended_cannot_be_stopped(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit("main")
    os.kill(instance.pid, signal.SIGKILL)
    instance.wait_exit(until=time.monotonic() + 30.0)
    with pytest.raises(ProcessLookupError):
        stop(instance, events)


def test_the_end_of_the_experiment_ends_the_waiting_too(unit: Callable[..., SystemdInstance], events: Record) -> None:
    instance = unit(timeout_stop=3600.0)
    stop(instance, events)
    instance.end()
    wait_for(lambda: instance._stopping is not None and not instance._stopping.is_alive())
    assert events == []
