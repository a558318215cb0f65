"""The fault that sends malformed input: it runs the fuzzer beside the load and proves what was sent."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drainproof.errors import HarnessError, Unsupported
from drainproof.faults.bad_clients.cases import FILE
from drainproof.faults.bench import Bench, Trigger
from drainproof.load.plan import Request
from drainproof.target.description import Target

BUDGET = 240.0
"""Seconds after which no further case is begun. Servers that answer at once need two or three; on a machine with forty
times more work than it can do, it was a hundred."""

SLACK = 120.0
"""Seconds beyond that for the last case, which may hang twice."""


def request_with_body(target: Target) -> Request:
    """The quickest HTTP request with a body, JSON before anything else. Raises Unsupported where there is none."""
    found = [r for r in target.requests if r.body and r.duration < math.inf and _is_http(r)]
    if not found:
        raise Unsupported("malformed input is derived from a request with a body, and the manifest declares none")
    return min(found, key=lambda r: (not r.body.lstrip().startswith(("{", "[")), r.duration))


def _is_http(request: Request) -> bool:
    return getattr(request, "protocol", "http") == "http"


@dataclass(frozen=True, kw_only=True)
class MalformedRequests:
    """Generates malformed input from a request of the target and sends it, one case after the other."""

    examples: int
    seed: int

    def check(self, target: Target) -> None:
        """Raises Unsupported where no request has a body."""
        request_with_body(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "malformed_requests", "examples": self.examples, "seed": self.seed}

    def arm(self, bench: Bench) -> Trigger:
        """Picks the request."""
        request = request_with_body(bench.target)
        return lambda: self._inject(bench, request)

    def _inject(self, bench: Bench, request: Request) -> dict[str, Any]:
        """Runs the fuzzer to its end. Raises HarnessError where it fails."""
        before = time.monotonic()
        plan = {
            "request": {k: v for k, v in asdict(request).items() if k in _KNOWN},
            "host": bench.running.host,
            "port": bench.port,
            "seed": self.seed,
            "examples": self.examples,
            "folder": str(bench.folder.absolute()),
            "until": before + BUDGET,
        }
        summary = _run(plan, patience=BUDGET + SLACK + 4 * request.duration)
        classes = summary["classes"]
        missing = [name for name in summary.pop("planned") if name not in classes]
        return {
            **self.describe(),
            "t": before,
            "until": time.monotonic(),
            "proven": bool(classes) and not missing,
            "because": f"{summary['cases']} cases of {len(classes)} classes were sent, derived from the request "
            f"{request.name!r}"
            + ("" if summary["json"] else ", whose body is no JSON object or array")
            + (f"; there was no time or no server for {', '.join(missing)}" if missing else ""),
            "request": request.name,
            "file": FILE,
            **summary,
        }


_KNOWN = {"name", "method", "path", "headers", "body", "expect", "duration", "safe_to_repeat"}


def _run(plan: dict[str, Any], *, patience: float) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", "drainproof.faults.bad_clients.fuzzer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _absolute(os.environ.get("PYTHONPATH", ""))},
        cwd="/",  # `-m` puts the working directory on sys.path, where a user's `types.py` would be imported
        start_new_session=True,  # a terminal's Ctrl-C is for pytest, which then ends this one
    )
    try:
        output, errors = process.communicate(json.dumps(plan), timeout=patience)
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"the fuzzer did not come to its end within {patience:.0f} s") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        raise HarnessError(f"the fuzzer failed with status {process.returncode}: {errors[-2000:].strip()}")
    summary: dict[str, Any] = json.loads(output)
    return summary


def _absolute(path: str) -> str:
    """Relative entries of PYTHONPATH made absolute, because the fuzzer runs in another working directory."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in path.split(os.pathsep) if entry)
