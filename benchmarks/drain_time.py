"""How well is a drain timed? Stops a server whose drain takes 500 ms, and compares.

python benchmarks/drain_time.py [RUNS]

Prints the median and the worst error of the measured drain time, in milliseconds. Wanted: a median below 5 ms.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from drainproof.laboratory import Laboratory
from drainproof.scenario import after, signal
from drainproof.target.manifest import load_target

KNOWN = 0.5


def main(runs: int) -> int:
    """Runs the benchmark; returns the exit status."""
    target = load_target(Path(__file__).parent / "known_drain")
    errors = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Laboratory(target=target, folder=Path(folder), progress=lambda _text: None) as laboratory,
    ):
        for number in range(runs):
            experiment = laboratory.experiment(scenario=f"drain-{number}", title="a known drain")
            evidence = experiment.run(faults=[after(0.0, signal("SIGTERM"))])
            assert evidence.exit_after is not None
            errors.append(abs(evidence.exit_after - KNOWN) * 1e3)
    median, worst = statistics.median(errors), max(errors)
    print(f"drain of {KNOWN * 1e3:.0f} ms, {runs} runs: error median {median:.2f} ms, worst {worst:.2f} ms")
    return int(median >= 5)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
