"""Commands that are run where a target runs, such as hooks: in its environment and folder, and never for longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from drainproof.errors import CommandNotStarted
from drainproof.target.process import ProcessInstance

SLEEPS = "import time; time.sleep(600)"

Start = Callable[..., ProcessInstance]


def soon() -> float:
    return time.monotonic() + 20.0


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_command_has_the_environment_and_the_folder_of_the_target(start: Start, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    target = start(SLEEPS, environment={"COLOUR": "blue"}, working_directory=tmp_path / "here")
    before = time.monotonic()
    done = target.execute(["sh", "-c", 'echo "$COLOUR $TMPDIR"; pwd; echo oops >&2; exit 3'], until=soon())
    assert before <= done.started <= done.ended <= time.monotonic()
    assert done.code == 3
    assert set(done.output.splitlines()) == {f"blue {target.tmp}", str(tmp_path / "here"), "oops"}
    assert target.exit_status() is None
    assert (tmp_path / "executed-1.jsonl").exists()


def test_what_hangs_is_ended_in_time_with_all_that_it_has_started(start: Start, tmp_path: Path) -> None:
    target = start(SLEEPS)
    script = "setsid sleep 600 & echo $! > pid; sleep 600"
    done = target.execute(["sh", "-c", script], until=time.monotonic() + 1.0)
    assert done.code is None
    assert is_gone(int((tmp_path / "pid").read_text()))
    assert target.exit_status() is None


def test_it_ends_with_the_target(start: Start) -> None:
    target = start("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)")
    done = target.execute(["sh", "-c", "touch go; sleep 600"], until=time.monotonic() + 600)
    assert done.code is None
    assert target.exit_status() is not None


def test_a_command_that_does_not_exist_says_so(start: Start) -> None:
    with pytest.raises(CommandNotStarted, match="'/no/such/hook' does not exist"):
        start(SLEEPS).execute(["/no/such/hook"], until=soon())


def test_there_is_nothing_to_run_a_command_in_when_the_target_has_ended(start: Start) -> None:
    target = start("")
    target.wait_exit(until=soon())
    with pytest.raises(ProcessLookupError):
        target.execute(["true"], until=soon())


def test_several_commands_do_not_overwrite_each_other(start: Start, tmp_path: Path, eventually: Any) -> None:
    target = start(SLEEPS)
    said = [target.execute(["echo", str(number)], until=soon()).output.strip() for number in range(2)]
    assert said == ["0", "1"]
    assert (tmp_path / "executed-2.jsonl").exists()
