"""What Ctrl-C, Ctrl-Break and a kill from outside do to a target that sees Windows, and when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.shim.windows import Windows

CTRL_C, CTRL_BREAK = signal.SIGINT, signal.SIGTTIN
LONG = 60
"""Seconds that a wait would take which nothing interrupts: it cannot be mistaken for an interrupted one."""
SHORT = 1.0
"""Seconds that a wait takes which must not be interrupted."""

HANDLING = """
import signal, sys, time
def handle(number, frame):
    print("heard", number, time.monotonic(), flush=True)
    sys.exit(5)
for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
    signal.signal(getattr(signal, name), handle)
"""
READY = 'import time; print("ready", time.monotonic(), flush=True)\n'
PROACTOR = (
    "import asyncio, sys\nasync def main():\n    {ready}    await asyncio.sleep({seconds})\nasyncio.run(main())\n"
)
SELECTOR = (
    "import asyncio, sys\nasyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())\n"
    "async def main():\n    {ready}    await asyncio.sleep({seconds})\nasyncio.run(main())\n"
)
SLEEPING = "{ready}time.sleep({seconds})\n"
WAITING = "import threading\n{ready}threading.Event().wait({seconds})\n"


def event(windows: Windows, script: str, number: signal.Signals) -> tuple[int, float, list[str], str]:
    """Runs the script, sends the event when it is ready, and returns its status, how long it took, and its output."""
    (windows.root / "main.py").write_text(script)
    process = windows.start(sys.executable, "main.py")
    assert process.stdout is not None
    ready = process.stdout.readline().split()
    assert ready[0] == "ready"
    time.sleep(0.2)  # into the wait; were it not there yet, the event would be heard at once in any case
    sent = time.monotonic()
    os.killpg(process.pid, number)
    try:
        stdout, stderr = process.communicate(timeout=LONG / 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, time.monotonic() - sent, stdout.split(), stderr


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    return Windows(tmp_path)


@pytest.mark.parametrize("number", [CTRL_C, CTRL_BREAK])
def test_a_program_that_handles_no_event_ends_with_the_status_of_windows(
    windows: Windows, number: signal.Signals
) -> None:
    status, _, _, stderr = event(windows, SLEEPING.format(ready=READY, seconds=LONG), number)

    assert status == 0x3A
    assert ("KeyboardInterrupt" in stderr) is (number == CTRL_C)


@pytest.mark.parametrize("number", [CTRL_C, CTRL_BREAK])
def test_an_idle_proactor_loop_hears_an_event_at_once(windows: Windows, number: signal.Signals) -> None:
    status, _, heard, _ = event(windows, HANDLING + PROACTOR.format(ready=READY, seconds=LONG), number)

    assert status == 5
    assert heard[:2] == ["heard", str(int(number))]


@pytest.mark.parametrize(("wait", "number"), [(SELECTOR, CTRL_C), (WAITING, CTRL_BREAK)], ids=["selector", "lock"])
def test_a_wait_that_windows_does_not_interrupt_is_over_first(
    windows: Windows, wait: str, number: signal.Signals
) -> None:
    status, took, heard, _ = event(windows, HANDLING + wait.format(ready=READY, seconds=SHORT), number)

    assert status == 5
    assert heard[:2] == ["heard", str(int(number))]
    assert took > SHORT / 2


@pytest.mark.parametrize("wait", [SELECTOR, WAITING], ids=["selector", "lock"])
def test_an_event_that_nobody_handles_ends_even_a_wait_that_is_not_interrupted(windows: Windows, wait: str) -> None:
    assert event(windows, wait.format(ready=READY, seconds=LONG), CTRL_BREAK)[0] == 0x3A


def test_a_kill_from_outside_runs_no_handler(windows: Windows) -> None:
    status, _, heard, _ = event(windows, HANDLING + PROACTOR.format(ready=READY, seconds=LONG), signal.SIGTERM)

    assert (status, heard) == (-signal.SIGTERM, [])


def test_a_child_in_a_group_of_its_own_hears_ctrl_break_from_its_parent_alone(windows: Windows) -> None:
    (windows.root / "child.py").write_text(HANDLING + SLEEPING.format(ready=READY, seconds=LONG))
    script = (
        "import os, signal, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, 'child.py'], cwd=os.path.dirname(os.path.abspath(__file__)),\n"
        "    creationflags=subprocess.CREATE_NEW_PROCESS_GROUP, stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "child.send_signal(signal.CTRL_C_EVENT)\n"
        "child.send_signal(signal.CTRL_BREAK_EVENT)\n"
        "print(child.communicate()[0].split()[:2], child.returncode)\n"
    )
    (windows.root / "main.py").write_text(script)

    stdout, stderr = windows.start(sys.executable, "main.py").communicate(timeout=LONG / 2)

    assert stdout == "[b'heard', b'21'] 5\n", stderr


IGNORING = """
import multiprocessing, os, signal, time
def work():
    print("ready", flush=True)
    time.sleep(60)
if __name__ == "__main__":
    child = multiprocessing.Process(target=work)
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGBREAK)]
    child.start()
    child.join()
    print("exit code", child.exitcode)
"""


@pytest.mark.parametrize("number", [CTRL_C, CTRL_BREAK])
def test_a_child_does_not_ignore_what_its_parent_ignores(windows: Windows, number: signal.Signals) -> None:
    status, _, output, _ = event(windows, IGNORING, number)

    # multiprocessing catches the KeyboardInterrupt in a child
    assert (status, output) == (0, ["exit", "code", "1" if number == CTRL_C else str(0x3A)])


def test_a_program_hears_ctrl_c_although_its_launcher_ignores_it(windows: Windows) -> None:
    script = "import signal, sys\nprint(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    (windows.root / "main.py").write_text(script)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = windows.start(sys.executable, "main.py")
    finally:
        signal.signal(signal.SIGINT, before)

    assert process.communicate(timeout=LONG / 2)[0] == "True\n"


def test_what_a_child_in_a_group_of_its_own_starts_is_as_deaf_to_ctrl_c(windows: Windows) -> None:
    (windows.root / "child.py").write_text(
        "import os, signal, subprocess, sys\n"
        "here = os.path.dirname(os.path.abspath(__file__))\n"
        "print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, flush=True)\n"
        "if len(sys.argv) == 1:\n"
        "    environment = {n: v for n, v in os.environ.items() if n in ('PYTHONPATH', 'DRAINPROOF_SHIM')}\n"
        "    subprocess.run([sys.executable, os.path.join(here, 'child.py'), 'more'], env=environment)\n"
    )
    (windows.root / "main.py").write_text(
        "import os, subprocess, sys\n"
        "child = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'child.py')\n"
        "subprocess.run([sys.executable, child], creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)\n"
    )

    stdout, stderr = windows.start(sys.executable, "main.py").communicate(timeout=LONG / 2)

    assert stdout == "True\nTrue\n", stderr
