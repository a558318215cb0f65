"""The multiprocessing start method is set before the target's first line, as a library that it imports may do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from drainproof.errors import Inconclusive
from drainproof.faults.bench import Bench, Trigger
from drainproof.shim.reports import ShimReports
from drainproof.target.description import Target

Method = Literal["spawn", "forkserver", "fork"]

REPORTED_AS = "start_method"
"""The name under which the shim reports it."""


@dataclass(frozen=True, kw_only=True)
class StartMethodSet:
    """`explicit`: by `set_start_method(method)`; else the default context is taken, as by asking for a context."""

    method: Method
    explicit: bool = True

    def check(self, target: Target) -> None:
        """Whether it is Python is known when the target runs."""

    def prepare(self, bench: Bench) -> None:
        """Arms it."""
        bench.shim().start_method = {"method": self.method, "how": "explicit" if self.explicit else "implicit"}

    def describe(self) -> dict[str, Any]:
        """The condition as JSON values."""
        return {"kind": "start_method", "method": self.method, "explicit": self.explicit}

    def arm(self, bench: Bench) -> Trigger:
        """The shim did it before the target's first line; the trigger reads its report."""
        return lambda: {**self.describe(), "t": time.monotonic(), **self._proof(bench.shim().reports())}

    def _proof(self, reports: ShimReports) -> dict[str, Any]:
        done = reports.fired(REPORTED_AS)
        if not done:
            why = reports.why_unreachable() or Inconclusive("the shim did not report that it set the start method")
            return {"proven": False, "because": str(why), "error": type(why).__name__}
        how = "set_start_method" if self.explicit else "a context that was taken"
        because = f"{self.method} was fixed by {how} before the first line of the target (pid {done[0]['pid']})"
        return {"proven": True, "because": because}
