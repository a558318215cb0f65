"""Two instances of a target behind a load balancer: what an experiment gives the load in place of one instance.

The first instance is the experiment's own: it is launched, watched and ended as ever. When it serves, the second one is
launched on ports of its own, then the balancer in front of both, and the load goes to the balancer's port. A restart
takes the same ports again, as an orchestrator with fixed addresses does, so the balancer needs to know nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from drainproof.errors import HarnessError, Inconclusive, LaunchError, Unsupported
from drainproof.load.plan import Request
from drainproof.probes.balancer import BalancerWatch
from drainproof.probes.sampler import Sampler
from drainproof.target import balancer as balancers
from drainproof.target.balancer import Balancer
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.ports import reserve
from drainproof.target.readiness import await_ready

if TYPE_CHECKING:
    from drainproof.faults.bench import Bench

FIRST, SECOND = "a", "b"
"""The names of the two instances, in the balancer's configuration, its cookie, and the evidence."""

SEEN_UP_WITHIN = 15.0
"""Seconds that the balancer gets to see that a server is ready: many checks, on a machine that is busy."""


class Front(Protocol):
    """What stands in front of the instances: a description, the same in an experiment and in its evidence."""

    def check(self, target: Target, requests: tuple[Request, ...]) -> None:
        """Raises Unsupported where the target, or a request of the load, cannot be put behind it. Touches nothing."""

    def require(self) -> None:
        """Raises Unsupported where this machine lacks something for it."""

    def set_up(self, bench: Bench) -> Fleet:
        """Starts it, when the first instance serves."""

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""


@dataclass(frozen=True, kw_only=True)
class BehindBalancer:
    """Two instances behind HAProxy; `sticky`: a session cookie keeps each client on its server."""

    sticky: bool = False

    def check(self, target: Target, requests: tuple[Request, ...]) -> None:
        """Raises Unsupported for gRPC: HTTP/2 behind a balancer is another matter, with rules of its own."""
        if any(request.protocol != "http" for request in requests):
            raise Unsupported("only HTTP requests are sent through the load balancer")

    def require(self) -> None:
        """Raises Unsupported where HAProxy is not installed."""
        balancers.find()

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"kind": "haproxy", "sticky": self.sticky, "check_every": balancers.CHECK_EVERY}

    def set_up(self, bench: Bench) -> Fleet:
        """Launches the second instance and the balancer, and returns when it sends requests to both.

        Raises Inconclusive where the second instance does not come up, HarnessError where the balancer does not.
        """
        fleet = Fleet(bench=bench)
        bench.cleanup.append(fleet.abandon)
        fleet.start(sticky=self.sticky)
        return fleet


@dataclass(kw_only=True)
class Member:
    """One place in the fleet: ports, and the instance that has them now."""

    name: str
    ports: Mapping[str, int]
    instance: Instance
    generation: int = 1


@dataclass(kw_only=True)
class Fleet:
    """The instances and the balancer of one experiment."""

    bench: Bench
    members: dict[str, Member] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._balancer: Balancer | None = None
        self._watches: list[BalancerWatch | Sampler] = []
        self._holds: list[Any] = []
        self._instances: list[Instance] = []

    @property
    def balancer(self) -> Balancer:
        """The balancer, once it is there."""
        assert self._balancer is not None, "the balancer has not been started yet"
        return self._balancer

    @property
    def port(self) -> int:
        """The balancer's port: where the load goes."""
        return self.balancer.port

    def start(self, *, sticky: bool) -> None:
        """See `BehindBalancer.set_up`."""
        bench = self.bench
        self.members[FIRST] = Member(name=FIRST, ports=bench.ports, instance=bench.running)
        ports = self._reserve(bench.target.ports)
        second = self._second(ports)
        watch = Sampler(instance=second.instance, target=bench.target, write=self._write_second)
        watch.start()
        self._watches.append(watch)
        longest = max((r.duration for r in bench.target.requests if r.duration != float("inf")), default=0.0)
        policy = bench.target.policy
        self._balancer = Balancer(
            port=self._reserve(("balancer",))["balancer"],
            servers=[
                balancers.Server(name=m.name, host=m.instance.host, port=m.ports["http"]) for m in self.members.values()
            ],
            readiness=bench.target.readiness,
            sticky=sticky,
            patience=policy.grace_period + policy.settle_time + longest + 30.0,
            folder=bench.folder,
        )
        looks = BalancerWatch(states=self._balancer.states, servers=self.members, write=bench.sample)
        looks.start()
        self._watches.append(looks)
        if not self._balancer.wait_up(self.members, until=time.monotonic() + SEEN_UP_WITHIN):
            raise HarnessError(f"the balancer does not see both servers up: {self._balancer.states()}")
        bench.record("balancer", port=self.port, members={m.name: dict(m.ports) for m in self.members.values()})

    def _second(self, ports: Mapping[str, int]) -> Member:
        """Launches the second instance. Raises Inconclusive where it does not come up beside the first one."""
        try:
            self.members[SECOND] = second = Member(name=SECOND, ports=ports, instance=self._launch(SECOND, ports, 1))
            self._await_ready(second)
        except LaunchError as error:
            raise Inconclusive(f"a second instance does not come up beside the first one: {error}") from error
        return second

    def replace(self, member: Member) -> float:
        """Launches a new instance in the place of one that is gone; returns when it served.

        Raises LaunchError where it does not come up.
        """
        member.generation += 1
        member.instance = self._launch(member.name, member.ports, member.generation)
        return self._await_ready(member)

    def end(self) -> None:
        """Ends what looks, the balancer and the instances. Raises HarnessError where a look had failed."""
        watches, self._watches = self._watches, []
        try:
            for watch in watches:
                watch.stop()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """The same, whatever the looks have to say. Idempotent."""
        for watch in self._watches:
            with suppress(HarnessError):
                watch.stop()
        self._watches = []
        if self._balancer is not None:
            self._balancer.end()
        while self._instances:
            self._instances.pop().end()
        while self._holds:
            self._holds.pop().release()

    def _reserve(self, names: tuple[str, ...]) -> Mapping[str, int]:
        reservation = reserve(names=names)
        self._holds.append(reservation)
        return dict(reservation)

    def _launch(self, name: str, ports: Mapping[str, int], generation: int) -> Instance:
        instance = self.bench.launch(ports=ports, output=self.bench.folder / output_of(name, generation))
        self._instances.append(instance)
        self.bench.record("member", server=name, what="launch", t=instance.started, pid=instance.pid)
        return instance

    def _await_ready(self, member: Member) -> float:
        def record(event: str, /, **values: Any) -> None:
            self.bench.record("member", server=member.name, what=event, **values)

        return await_ready(target=self.bench.target, instance=member.instance, record=record)

    def _write_second(self, line: dict[str, Any]) -> None:
        self.bench.sample({**line, "probe": probe_of(line["probe"], SECOND)})


def probe_of(probe: str, member: str) -> str:
    """The name under which the evidence has a probe of a member: the first one's are the experiment's own."""
    return probe if member == FIRST else f"{probe} of {member}"


def output_of(member: str, generation: int) -> Path:
    """The file with the output of an instance of a member, in the evidence folder."""
    return Path(f"output-{member}{generation}.jsonl")
