"""The outside of the shim, for one experiment: says what is armed, gives commands, and reads what was reported.

Both sides share a folder and nothing else; see docs/explanation/shim.md for why it is files:

| file | content | written by |
|---|---|---|
| `plan.json` | what is armed; absent where nothing is | here, before the launch |
| `control` | a byte for each fail point: how many shots the experiment has granted | here; the inside reads it |
| `claims/` | an empty file for each shot that was taken, so that none is taken twice | the inside |
| `reports.jsonl` | who loaded the shim, what was armed, what fired | the inside |
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drainproof.errors import HarnessError
from drainproof.shim.reports import REPORTS, ShimReports

INSIDE = Path(__file__).parent / "inside"
"""The folder that is put first on the target's PYTHONPATH."""

VARIABLE = "DRAINPROOF_SHIM"
"""The environment variable that names the session's folder."""

PLAN, CONTROL, CLAIMS = "plan.json", "control", "claims"
VERSION = 1
CONTROL_SIZE = 4096

MOST_SHOTS = 255
"""What the control byte of a fail point can grant."""


@dataclass(frozen=True, kw_only=True)
class FailPoint:
    """One armed exception. It is raised at one of its sites when its time has come."""

    name: str
    sites: tuple[str, ...]
    """Places in the order of preference: `@handler` (found by the shim itself) or `module:qualified.name`."""
    exception: str
    """The exception's class: a built-in one by name, or `module:Class`."""
    message: str
    when: Mapping[str, Any]
    """`{"call": n}`, `{"probability": p, "seed": s}`, `{"after": seconds}` or `{"command": true}`."""
    shots: int = 1
    """How often it fires, over all processes of the target together."""
    paths: tuple[str, ...] | None = None
    """Only requests for these URL paths or gRPC methods, where the place knows which request it serves."""


@dataclass(kw_only=True)
class ShimSession:
    """One experiment's shim. Fill it, `install` it into the environment of the target, then command it."""

    folder: Path
    start_method: Mapping[str, Any] | None = None
    """`{"method": "spawn", "how": "explicit" | "implicit"}`."""
    windows: Mapping[str, Any] | None = None
    """`{"roots": [absolute paths], "packages": [names]}`: who sees Windows."""
    _points: list[FailPoint] = field(default_factory=list)

    def arm(self, point: FailPoint) -> None:
        """Adds a fail point. Before `install`."""
        if any(point.name == other.name for other in self._points):
            raise HarnessError(f"two fail points of one experiment are named {point.name!r}")
        if not 1 <= point.shots <= MOST_SHOTS:
            raise HarnessError(f"fail point {point.name!r}: shots must be from 1 to {MOST_SHOTS}, not {point.shots}")
        self._points.append(point)

    def install(self) -> None:
        """Makes the session's folder. Raises HarnessError where that fails, or where the shim is not there."""
        if not (INSIDE / "sitecustomize.py").is_file():
            raise HarnessError(f"the shim is missing: {INSIDE} has no sitecustomize.py; install drainproof again")
        if os.pathsep in str(INSIDE):
            raise HarnessError(f"the shim cannot be loaded: PYTHONPATH takes no folder with {os.pathsep!r}: {INSIDE}")
        try:
            for folder in (self.folder, self.folder / CLAIMS):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o777)  # in a container another user may write here
            for name, content in ((CONTROL, bytes(CONTROL_SIZE)), (REPORTS, b"")):
                (self.folder / name).write_bytes(content)
                (self.folder / name).chmod(0o666)
            if self._points or self.start_method or self.windows:
                (self.folder / PLAN).write_text(json.dumps(self._plan(), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"cannot write the shim's plan to {self.folder}: {error.strerror}") from error

    def environment(self, *, code: str, folder: str) -> dict[str, str]:
        """The variables that make the target's interpreters load the shim; another PYTHONPATH goes behind this one.

        `code` and `folder`: where the target sees `INSIDE` and the session's folder.
        """
        return {"PYTHONPATH": code, VARIABLE: folder}

    def grant(self, name: str) -> float:
        """Gives the command for all shots of a fail point, and returns when."""
        index, point = next((i, p) for i, p in enumerate(self._points) if p.name == name)
        with (self.folder / CONTROL).open("r+b", buffering=0) as control:
            control.seek(index)
            granted = time.monotonic()
            control.write(bytes([point.shots]))
        return granted

    def reports(self) -> ShimReports:
        """What was reported so far."""
        return ShimReports.read(self.folder)

    def wait(self, condition: Callable[[ShimReports], bool], *, until: float, meanwhile: Callable[[], bool]) -> bool:
        """Waits until `condition` holds for the reports. False at `until`, or when `meanwhile` says to give up."""
        while not condition(self.reports()):
            over = meanwhile() or time.monotonic() >= until
            if over:
                return condition(self.reports())  # the last word may have come in between
            time.sleep(0.005)  # between two looks at the file
        return True

    def _plan(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "faults": [
                {
                    "name": point.name,
                    "index": index,
                    "sites": list(point.sites),
                    "raise": point.exception,
                    "message": point.message,
                    "when": dict(point.when),
                    "shots": point.shots,
                    "paths": None if point.paths is None else list(point.paths),
                }
                for index, point in enumerate(self._points)
            ],
            "start_method": self.start_method,
            "windows": self.windows,
        }
