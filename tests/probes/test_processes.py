"""Processes: samples and signal masks of real ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from drainproof.probes import processes
from drainproof.probes.processes import ProcessSample

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python with some code, waits for its first line, and ends it after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, **kw: object) -> subprocess.Popen[str]:
        code = "import signal, sys, threading, time\n" + code + "\nprint('up', flush=True)\ntime.sleep(60)\n"
        child = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE, text=True, **kw)  # type: ignore[call-overload]
        started.append(child)
        assert child.stdout.readline() == "up\n"
        return child  # type: ignore[no-any-return]

    yield run
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, "the condition did not come true"
        time.sleep(0.005)


def test_a_sample_says_who_a_process_is(start: Start) -> None:
    before = time.monotonic()
    child = start("")
    (seen,) = processes.sample(pids=[child.pid])
    assert seen.pid == child.pid
    assert seen.ppid == psutil.Process().pid
    assert seen.cmdline[0] == sys.executable
    assert seen.exe.startswith("python")
    assert seen.name == psutil.Process(child.pid).name()[:15]
    assert before - 0.05 <= seen.created <= time.monotonic()
    assert processes.sample(pids=[child.pid])[0].created == seen.created
    assert ProcessSample.from_json(seen.to_json()) == seen


def test_status_of_stopped_zombie_and_gone(start: Start) -> None:
    child = start("")
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: processes.sample(pids=[child.pid])[0].status == "stopped")
    child.kill()
    wait_until(lambda: processes.sample(pids=[child.pid])[0].status == "zombie")
    zombie = processes.sample_one(pid=child.pid)
    assert zombie is not None
    assert (zombie.cmdline, zombie.exe) == ((), "")
    child.wait()
    assert processes.sample(pids=[child.pid]) == []


def test_a_name_with_brackets_and_spaces(start: Start) -> None:
    child = start("open('/proc/self/comm', 'w').write('a) R (b c')")
    (seen,) = processes.sample(pids=[child.pid])
    assert seen.name == "a) R (b c"
    assert seen.status in ("sleeping", "running")


def test_dispositions(start: Start) -> None:
    child = start(
        "signal.signal(15, lambda *a: None); signal.signal(1, signal.SIG_IGN); signal.signal(2, signal.SIG_DFL)"
    )
    expected = {
        signal.SIGTERM: "handled",
        signal.SIGHUP: "ignored",
        signal.SIGINT: "default",
        signal.SIGKILL: "default",
    }
    assert {s: processes.signal_disposition(pid=child.pid, signum=s) for s in expected} == expected


def test_a_signal_that_is_blocked_is_awaited_and_not_lost(start: Start) -> None:
    """There is no handler to be seen, and it is taken from a signalfd, or when it is let through."""
    child = start(
        "signal.pthread_sigmask(signal.SIG_BLOCK, {15, 1, 2}); signal.signal(1, signal.SIG_IGN); "
        "signal.signal(2, signal.default_int_handler)"
    )
    expected = {signal.SIGTERM: "awaited", signal.SIGHUP: "ignored", signal.SIGINT: "handled"}
    assert {s: processes.signal_disposition(pid=child.pid, signum=s) for s in expected} == expected


def test_a_signal_that_is_waited_for_is_no_default(start: Start) -> None:
    """What tini does: while it waits, the kernel shows neither a handler nor that the signal is blocked."""
    child = start("time.sleep = lambda _: signal.sigwait({15})\nsignal.pthread_sigmask(signal.SIG_BLOCK, {15})")
    wait_until(lambda: processes.signal_state(pid=child.pid).waits)
    assert not processes.blocked(pid=child.pid, signum=15)
    assert processes.signal_disposition(pid=child.pid, signum=15) == "awaited"


def test_a_blocked_signal_is_pending_until_it_is_let_through(start: Start) -> None:
    child = start("signal.pthread_sigmask(signal.SIG_BLOCK, {15})")
    assert processes.blocked(pid=child.pid, signum=15)
    assert not processes.blocked(pid=child.pid, signum=2)
    assert not processes.pending(pid=child.pid, signum=15)
    child.terminate()
    assert processes.pending(pid=child.pid, signum=15)


def test_one_thread_that_does_not_block_is_enough(start: Start) -> None:
    child = start(
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {15})"
    )
    assert not processes.blocked(pid=child.pid, signum=15)


def test_a_stopped_process_has_its_signal_pending(start: Start) -> None:
    child = start("signal.signal(15, lambda *a: None)")
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: processes.sample(pids=[child.pid])[0].status == "stopped")
    child.terminate()
    state = processes.signal_state(pid=child.pid)
    assert 15 in state.pending
    assert state.disposition(15) == "handled"
    assert 15 in state.to_json()["pending"]


def test_a_process_that_is_gone(start: Start) -> None:
    child = start("")
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError):
        processes.signal_state(pid=child.pid)
