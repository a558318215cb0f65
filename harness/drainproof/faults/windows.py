"""An event loop as on Windows, emulated inside the target by the shim; the console events that stop a program there.

See docs/explanation/windows.md for what is emulated, and what is not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import HarnessError, Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.signals import SignalFault
from drainproof.shim.reports import ShimReports
from drainproof.target.description import Target
from drainproof.target.windows import PACKAGES, ConsoleEvent

REPORTED_AS = "windows"
"""The name under which the shim reports that the emulation is complete."""

OLDEST, NEWEST = (3, 9), (3, 13)
"""The versions of Python that can be shown Windows."""

CARRIERS = {"Ctrl-C": "SIGINT", "Ctrl-Break": "SIGTTIN"}
"""The signal that stands for a console event. SIGBREAK has the number on Windows that SIGTTIN has here."""


@dataclass(frozen=True, kw_only=True)
class WindowsLoop:
    """The target's own code and the frameworks under test see Windows from their first line on (emulated)."""

    def check(self, target: Target) -> None:
        """Which Python it is, if any, is known when the target runs."""

    def prepare(self, bench: Bench) -> None:
        """Arms it, after an ordinary start has proven that the target starts at all."""
        bench.usual_start()
        target = bench.target
        folders = (target.folder, target.working_directory, *target.windows.folders)
        bench.shim().windows = {
            "roots": list(dict.fromkeys(str(folder) for folder in folders)),
            "packages": sorted({*PACKAGES, *target.windows.packages}),
        }

    def describe(self) -> dict[str, Any]:
        """The condition as JSON values."""
        return {"kind": "windows_loop", "emulated": True}

    def arm(self, bench: Bench) -> Trigger:
        """The shim did it before the target's first line; the trigger reads its reports."""
        return lambda: {**self.describe(), "t": time.monotonic(), **_proof(bench.shim().reports())}


def _proof(reports: ShimReports) -> dict[str, Any]:
    done = reports.fired(REPORTED_AS)
    why = _too_old_or_new(reports) or reports.why_unreachable()
    if why is None and not done:
        why = HarnessError("no interpreter of the target reported that it sees Windows (emulated)")
    if why is not None:
        return {"proven": False, "because": str(why), "error": type(why).__name__}
    pids = sorted({int(report["pid"]) for report in done})
    where = f"{len(pids)} interpreters" if len(pids) > 1 else "one interpreter"
    return {"proven": True, "because": f"Windows is emulated in {where} of the target", "pids": pids}


def _too_old_or_new(reports: ShimReports) -> Unsupported | None:
    for report in reports.interpreters:
        version = str(report["python"])
        if not OLDEST <= tuple(int(part) for part in version.split(".")[:2]) <= NEWEST:
            supported = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
            return Unsupported(f"Windows can be emulated for Python {supported}; the target runs on {version}")
    return None


@dataclass(frozen=True, kw_only=True)
class ConsoleEventFault:
    """Ctrl-C or Ctrl-Break on the target's console: to every process on it, which here is its process group."""

    event: ConsoleEvent

    def check(self, target: Target) -> None:
        """Every target can be sent one."""

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "console_event", "console_event": self.event, "emulated": True}

    def arm(self, bench: Bench) -> Trigger:
        """Finds out who is who; the trigger sends the signal that stands for the event."""
        send = SignalFault(signal=CARRIERS[self.event], recipient="group").arm(bench)

        def trigger() -> dict[str, Any]:
            proof = send()
            return {**proof, **self.describe(), "because": f"{self.event} (emulated): {proof['because']}"}

        return trigger
