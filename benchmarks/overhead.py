"""What does a full run cost beyond what cannot be saved?

python benchmarks/overhead.py [TARGET]      default: reference_servers/conforming

Runs all scenarios on TARGET and prints the wall time of the whole pytest run divided by the time that no harness could
save, both from the same run: for each experiment the start-up of the target (launch to the first right answer), the
time until the load that the scenario asks for is in flight (the stagger of held requests, one request of each steady
stream), and the drain (fault to the end of the last process, or to the moment at which the observation may end).
Wanted: at most 1.3.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from drainproof.evidence import Evidence
from drainproof.faults.moments import RIPE

ROOT = Path(__file__).resolve().parents[1]


def unsaveable(evidence: Evidence) -> float:
    """Seconds of one experiment that belong to the target and the scenario."""
    launch, serving = evidence.moment("launch"), evidence.moment("serving")
    if launch is None:
        return 0.0
    end = max(m for m in (evidence.gone, evidence.moment("observed"), launch) if m is not None)
    if serving is None:  # the fault came in the start-up: all of it is the target's time
        return end - launch
    fault = evidence.faults[0]["t"] if evidence.faults else serving
    restart = evidence.find("restart")
    again = float(restart["seconds"]) if restart and restart.get("seconds") else 0.0
    return (serving - launch) + _until_loaded(evidence) + (end - fault) + again


def _until_loaded(evidence: Evidence) -> float:
    durations = {r.name: r.duration for r in evidence.target.requests}
    streams: list[dict[str, Any]] = list(evidence.experiment["load"])
    return max((_needs(s, durations) for s in streams), default=0.0)


def _needs(stream: dict[str, Any], durations: dict[str, float]) -> float:
    if stream["kind"] == "hold":
        return float(stream["stagger"])
    if stream["kind"] == "once":
        return RIPE if durations[stream["request"]] >= 2 * RIPE else 0.0
    if stream["kind"] == "steady":
        return 5 / float(stream["rate"])  # so many answers make a stream warm
    return 0.0


def main(target: Path) -> int:
    """Runs the benchmark; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        begin = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-q", f"--target={target}", f"--report-dir={report}"]
        status = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode
        wall = time.monotonic() - begin
        folders = sorted(path.parent for path in report.rglob("experiment.json"))
        needed = sum(unsaveable(Evidence(path)) for path in folders)
    ratio = wall / needed
    print(
        f"{len(folders)} experiments, exit status {status}: wall {wall:.1f} s / unsaveable {needed:.1f} s = {ratio:.3f}"
    )
    return int(status != 0 or ratio > 1.3)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reference_servers" / "conforming"))
