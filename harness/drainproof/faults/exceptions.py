"""Exceptions inside the target, raised by the shim at a fail point, with the shim's report as the proof.

Two ways: `ExceptionFault` as a fault at its moment gives the command and waits until it has fired; as a condition that
is `given` from the launch on (`call=1`) it waits in the target to be reached, and is proven when all is over.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import UserError
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.moments import SteadyState
from drainproof.faults.reading import read_sockets
from drainproof.load.plan import Protocol
from drainproof.shim.reports import ShimReports
from drainproof.shim.session import FailPoint
from drainproof.target.description import OwnFailPoint, Target

FIRES_WITHIN = 10.0
"""Seconds that a commanded fail point gets to be reached as often as it shall fire."""

QUIET = 1.0
"""Seconds of these in which no health probe has a connection: most fail points are reached within some milliseconds."""

ARMED_WITHIN = 5.0
"""Seconds that a target which serves gets to have its fail point armed (a module may be imported late)."""

SEED = 1
"""Of the chance by which a fail point with a probability fires."""

MESSAGE = "raised by drainproof"
"""What every exception of ours says, so that a reader of the target's log knows where it comes from."""


@dataclass(frozen=True, kw_only=True)
class ExceptionFault:
    """Raises `exception` at the place `site`, `shots` times over all processes of the target.

    `site`: a place by its role ("handler", "main", "rest", "grpc", "task", "callback", "stop", "load"), which the
    manifest may name and else the shim looks for, or `module:qualified.name`. One of `call` (fires at the n-th call
    from the start on), `later` (so many seconds after the start of the process) and `probability` (of each call) says
    when; without them it fires on command, at the moment of the fault.
    """

    site: str
    exception: str = "RuntimeError"
    shots: int = 1
    call: int | None = None
    later: float | None = None
    probability: float | None = None
    known_as: str | None = None
    """Its name in the evidence, where that is not the site."""
    only_requests: bool = False
    """Only where a declared request is served, as far as the place can tell; never for a health probe."""
    protocol: Protocol | None = None
    """With `only_requests`: only where one of this protocol is served."""

    def __post_init__(self) -> None:
        """Raises UserError for times that contradict each other."""
        given = [name for name in ("call", "later", "probability") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"an exception at {self.site!r} has {' and '.join(given)}: give one of them, or none")
        if self.call is not None and self.call < 1:
            raise UserError(f"an exception at {self.site!r}: call counts from 1, not {self.call}")
        if self.probability is not None and not 0 < self.probability <= 1:
            raise UserError(f"an exception at {self.site!r}: probability is above 0 and at most 1")

    @property
    def on_command(self) -> bool:
        """Whether the experiment says when."""
        return self.call is None and self.later is None and self.probability is None

    @property
    def when(self) -> dict[str, Any]:
        """In the shim's terms."""
        if self.call is not None:
            return {"call": self.call}
        if self.later is not None:
            return {"after": self.later}
        return {"command": True} if self.probability is None else {"probability": self.probability, "seed": SEED}

    def check(self, target: Target) -> None:
        """Which places there are is known when the target runs."""

    def sites(self, target: Target) -> tuple[str, ...]:
        """Where it may fire, in the shim's terms."""
        if ":" in self.site:
            return (self.site,)
        named = target.fail_points.get(self.site)
        return (f"@{self.site}",) if named is None else (named,)

    @property
    def name(self) -> str:
        """The name in the shim's plan."""
        return self.known_as or self.site

    def paths(self, target: Target) -> tuple[str, ...] | None:
        """URL paths and gRPC methods that it is meant for, without queries; None: all."""
        requests = [r for r in target.requests if self.protocol in (None, r.protocol)]
        cut = (r.path.partition("?")[0] for r in requests)
        paths = tuple(dict.fromkeys(path for path in cut if "{" not in path))
        return paths if self.only_requests and paths else None

    def prepare(self, bench: Bench) -> None:
        """Arms the fail point."""
        target = bench.target
        bench.shim().arm(
            FailPoint(
                name=self.name,
                sites=self.sites(target),
                exception=self.exception,
                message=MESSAGE,
                when=self.when,
                shots=self.shots,
                paths=self.paths(target),
            )
        )

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {
            "kind": "exception",
            "name": self.name,
            "site": self.site,
            "exception": self.exception,
            "shots": self.shots,
            "when": self.when,
        }

    def arm(self, bench: Bench) -> Trigger:
        """Waits until the fail point is armed where it is due on command; the trigger then commands it."""
        if not self.on_command:
            return lambda: self._proof(bench)
        sites = self.sites(bench.target)
        shim = bench.shim()
        ready = shim.wait(
            lambda reports: reports.why_not_armed(self.name, sites=sites) is None,
            until=time.monotonic() + ARMED_WITHIN,
            meanwhile=lambda: bench.running.exit_status() is not None or bool(shim.reports().why_unreachable()),
        )
        if not ready:
            why = shim.reports().why_not_armed(self.name, sites=sites)
            assert why is not None
            raise why
        return lambda: self._command(bench)

    def _command(self, bench: Bench) -> dict[str, Any]:
        """Reads the socket table, gives the command, and waits until all shots have been fired."""
        shim = bench.shim()

        def wait_fired(until: float) -> None:
            shim.wait(
                lambda reports: len(reports.fired(self.name)) >= self.shots,
                until=until,
                meanwhile=lambda: bench.running.exit_status() is not None,
            )

        assert bench.sampler is not None, "a target that runs is looked at"
        with bench.sampler.quiet():
            table = read_sockets(bench)
            granted = shim.grant(self.name)
            wait_fired(granted + QUIET)
        wait_fired(granted + FIRES_WITHIN)  # it may be in what a health probe asks for
        return {**self._proof(bench), "t": granted, "sockets": table}

    def _proof(self, bench: Bench) -> dict[str, Any]:
        proven = proof(bench.shim().reports(), self.name, self.sites(bench.target))
        t = proven["fired"][0]["t"] if proven["fired"] else time.monotonic()
        return {**self.describe(), "t": t, **proven}


@dataclass(frozen=True, kw_only=True)
class Fired:
    """At steady state, and when an exception that comes at a time of its own has been raised (or had its time to)."""

    fault: ExceptionFault
    before_ready: bool = False

    def wait(self, bench: Bench) -> None:
        """Returns in any case: the proof says whether it was raised."""
        SteadyState().wait(bench)
        due = bench.running.started + (self.fault.later or 0.0)
        bench.shim().wait(
            lambda reports: len(reports.fired(self.fault.name)) >= self.fault.shots,
            until=max(time.monotonic(), due) + FIRES_WITHIN,
            meanwhile=lambda: bench.running.exit_status() is not None,
        )

    def describe(self) -> str:
        """The moment in words."""
        return "when it has been raised"


def own(point: OwnFailPoint) -> ExceptionFault:
    """The exception that a target declares."""
    return ExceptionFault(
        site=point.site,
        exception=point.exception,
        shots=point.shots,
        call=point.call,
        later=point.later,
        probability=point.probability,
        known_as=point.name,
    )


def proof(reports: ShimReports, name: str, sites: tuple[str, ...]) -> dict[str, Any]:
    """Whether the fail point fired, where and how often; else the kind of error that says why not."""
    fired = reports.fired(name)
    if not fired:
        why = reports.why_not_fired(name, sites=sites)
        return {"proven": False, "because": str(why), "error": type(why).__name__, "fired": []}
    first = fired[0]
    times = f", {len(fired)} times" if len(fired) > 1 else ""
    where = f", at {first['where']}" if first.get("where") else ""
    because = f"{first['exception']} was raised in {first['site']}{where} (pid {first['pid']}){times}"
    return {"proven": True, "because": because, "fired": [dict(report) for report in fired]}
