"""What does a container cost? The same experiment on the same server, as a process and in a container in turn.

The difference of the medians is what counts, since the machine is the same: a container must take no more than 1.5 s
longer than a process. Where it goes: making and starting it, telling how it ended, removing it.

Run: python benchmarks/containers.py [rounds]    (an engine must answer, as for `pytest --launch=container`)
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from drainproof.laboratory import Laboratory
from drainproof.scenario import at_steady_state, hold, signal, steady
from drainproof.target.manifest import load_target

BOUND = 1.5
"""Seconds."""

SERVER = Path(__file__).parents[1] / "reference_servers" / "conforming"


def once(laboratory: Laboratory, number: int) -> float:
    """Seconds of one whole experiment: start, load, SIGTERM at steady state, drain, leftovers, removal."""
    experiment = laboratory.experiment(scenario=f"benchmark-{number}", title="benchmark")
    began = time.monotonic()
    evidence = experiment.run(load=[steady(rate=20), hold(4)], faults=[at_steady_state(signal("SIGTERM"))], workers=1)
    seconds = time.monotonic() - began
    assert evidence.exit is not None and evidence.exit.status in (0, 143), evidence.exit
    return seconds


def show(what: str, values: list[float]) -> None:
    """One line of the result."""
    print(f"{what:24} median {statistics.median(values):6.2f} s   from {min(values):6.2f} to {max(values):6.2f}")


def main() -> int:
    """Prints the numbers; the exit status says whether the bound holds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds: dict[str, list[float]] = {"process": [], "container": []}
    with tempfile.TemporaryDirectory() as folder:
        laboratories = {
            mode: Laboratory(
                target=load_target(SERVER, launch=mode), folder=Path(folder) / mode, progress=lambda _: None
            )
            for mode in seconds
        }
        try:
            for number in range(rounds + 1):
                for mode, laboratory in laboratories.items():
                    took = once(laboratory, number)
                    if number:  # the first round also builds the image and imports what is needed
                        seconds[mode].append(took)
        finally:
            for laboratory in laboratories.values():
                laboratory.close()
    for mode, values in seconds.items():
        show(mode, values)
    pairs = [b - a for a, b in zip(seconds["process"], seconds["container"], strict=True)]
    show("container, more", pairs)
    difference = statistics.median(seconds["container"]) - statistics.median(seconds["process"])
    print(f"difference of the medians {difference:5.2f} s (bound {BOUND:g} s)")
    return 0 if difference <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
