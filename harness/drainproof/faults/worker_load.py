"""Workers that cannot load their model: from the launch on, or from a moment on for the next so many attempts.

Two ways. `WorkersNeverLoad` starts the target as `[provoke.worker_failure]` says. `NextLoadsFail` grants the shim's
fail point `load` so many shots at its moment, so that the workers that are started from then on fail while they load,
and the first one that gets no shot comes up. What proves it are the shim's reports, each with the pid of the worker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.exceptions import ARMED_WITHIN, MESSAGE, ExceptionFault
from drainproof.shim.session import FailPoint
from drainproof.target.description import Target


@dataclass(frozen=True, kw_only=True)
class WorkersNeverLoad:
    """No worker can load its model, from the launch on and for ever, by the means that the manifest declares."""

    def check(self, target: Target) -> None:
        """Raises Unsupported where the manifest does not say how."""
        if target.worker_failure is None:
            raise Unsupported(
                "the manifest does not say how to make workers fail while they load: declare "
                "[provoke.worker_failure] with env or args that do it"
            )

    def prepare(self, bench: Bench) -> None:
        """Adds the declared environment and arguments to the launch."""
        provocation = bench.target.worker_failure
        assert provocation is not None
        bench.environment.update(provocation.environment)
        bench.arguments.extend(provocation.arguments)
        bench.watches_births = True

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "workers_never_load"}

    def arm(self, bench: Bench) -> Trigger:
        """The target was started that way; the trigger says so."""
        return lambda: {
            **self.describe(),
            "t": bench.running.started,
            "proven": True,
            "because": f"started with {bench.environment or ''} {bench.arguments or ''}".strip(),
        }


@dataclass(frozen=True, kw_only=True)
class NextLoadsFail:
    """An exception in the next `attempts` loads of the model, of whichever worker, from the moment on."""

    attempts: int
    name: str = "load"

    @property
    def _point(self) -> ExceptionFault:
        return ExceptionFault(site="load", shots=self.attempts)

    def check(self, target: Target) -> None:
        """Whether there is such a place is known when the target runs."""

    def prepare(self, bench: Bench) -> None:
        """Arms the fail point, without a shot."""
        point = self._point
        bench.shim().arm(
            FailPoint(
                name=self.name,
                sites=point.sites(bench.target),
                exception=point.exception,
                message=MESSAGE,
                when={"command": True},
                shots=self.attempts,
            )
        )

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "next_loads_fail", "name": self.name, "attempts": self.attempts}

    def arm(self, bench: Bench) -> Trigger:
        """Waits until the fail point is armed in some process of the target; the trigger grants the shots."""
        sites, shim = self._point.sites(bench.target), bench.shim()
        ready = shim.wait(
            lambda reports: reports.why_not_armed(self.name, sites=sites) is None,
            until=time.monotonic() + ARMED_WITHIN,
            meanwhile=lambda: bench.running.exit_status() is not None or bool(shim.reports().why_unreachable()),
        )
        if not ready:
            why = shim.reports().why_not_armed(self.name, sites=sites)
            assert why is not None
            raise why
        return lambda: self._grant(bench)

    def _grant(self, bench: Bench) -> dict[str, Any]:
        granted = bench.shim().grant(self.name)
        return {
            **self.describe(),
            "t": granted,
            "proven": True,
            "because": f"the next {self.attempts} loads of the model fail; the shim reports each",
        }
