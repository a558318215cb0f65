"""How late is the exit that the launcher reports, and how long does a launch take?

The target itself notes the clock as the very last thing before `_exit`, so every error is the launcher's and the
kernel's own work at the end of a process. Required: a median error below 2 ms.

Run: python benchmarks/exit_time.py [launches]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from drainproof.target.process import launch_command

TARGET = """
import os, sys, time
if "flood" in sys.argv and os.fork() == 0:
    block = b"a line of eighty bytes or so, as a log has them, again and again and again .....\\n" * 800
    while True:
        os.write(1, block)
note = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
time.sleep(0.1)
os.write(note, repr(time.monotonic()).encode())
os._exit(0)
"""


def measure(folder: Path, *, launches: int, flags: list[str]) -> tuple[list[float], list[float]]:
    """Errors of the exit time and durations of the launch, in milliseconds."""
    errors, starts = [], []
    for number in range(launches):
        note = folder / f"note-{number}"
        before = time.monotonic()
        with launch_command(
            command=[sys.executable, "-I", "-S", "-c", TARGET, str(note), *flags],
            environment={},
            working_directory=folder,
            output=folder / "output.jsonl",
        ) as instance:
            starts.append(1000 * (time.monotonic() - before))
            status = instance.wait_exit(until=time.monotonic() + 30)
            assert status is not None and status.code == 0, status
        errors.append(1000 * (status.time - float(note.read_text())))
        note.unlink()
    return errors, starts


def show(what: str, values: list[float]) -> None:
    """One line of the result."""
    centiles = statistics.quantiles(values, n=100)
    print(f"{what:42} median {statistics.median(values):7.2f} ms   p95 {centiles[94]:7.2f}   worst {max(values):7.2f}")


def main() -> int:
    """Prints the numbers; the exit status says whether the requirement holds."""
    launches = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder:
        errors, starts = measure(Path(folder), launches=launches, flags=[])
        flooded, _ = measure(Path(folder), launches=max(launches // 4, 2), flags=["flood"])
    show("exit time, late by", errors)
    show("the same, while a child floods the output", flooded)
    show("launch (keeper and exec)", starts)
    return 0 if statistics.median(errors) < 2.0 else 1


if __name__ == "__main__":
    sys.exit(main())
