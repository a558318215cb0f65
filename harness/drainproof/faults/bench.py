"""What a fault and its moment may see and touch of the running experiment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from drainproof.fleet import Fleet
from drainproof.load.driver import LoadRun
from drainproof.load.plan import Request, Stream
from drainproof.probes.births import BirthWatch
from drainproof.probes.sampler import Sampler
from drainproof.probes.sockets import HERE, Namespace
from drainproof.recorder import SHIM
from drainproof.shim.session import INSIDE, ShimSession
from drainproof.target import placeholders
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.launcher import Changes, Launcher, Mount

if TYPE_CHECKING:
    from drainproof.faults.finding import FoundWorkers


@dataclass(kw_only=True)
class Bench:
    """The running experiment. `instance` and `load` are None until they exist."""

    target: Target
    folder: Path
    """The evidence folder of the experiment."""
    workers: int
    ports: dict[str, int]
    record: Callable[..., None]
    """`record(event, t=…, **values)`: adds to the timeline."""
    sample: Callable[[dict[str, Any]], None]
    """Adds a line to what the probes saw."""
    launcher: Launcher
    usual_start: Callable[[], float]
    """About how long this target takes to become ready, in seconds."""
    streams: tuple[Stream, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    """Added to the target's environment at the launch."""
    arguments: list[str] = field(default_factory=list)
    """Added to the end of the command at the launch."""
    mounts: list[Mount] = field(default_factory=list)
    """Folders of this machine that the target is to see in its container."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options for the container that the target runs in."""
    instance: Instance | None = None
    load: LoadRun | None = None
    sampler: Sampler | None = None
    """What looks at the instance, from the launch on."""
    fleet: Fleet | None = None
    """Where the load goes to a balancer in front of several instances: those, and the balancer."""
    last: float = 0.0
    """When the last fault was injected, or the target launched."""
    proofs: list[dict[str, Any]] = field(default_factory=list)
    """Of the faults that were injected so far, in order."""
    cleanup: list[Callable[[], None]] = field(default_factory=list)
    """Called at the end of the experiment, last first."""
    watches_births: bool = False
    """Births and deaths of its processes are recorded. A fault that needs it sets it in `prepare`."""
    births: BirthWatch | None = None
    """What watches them, from the launch on."""
    servers: set[int] = field(default_factory=set)
    """The processes that were seen to serve, where somebody has looked."""
    workers_found: FoundWorkers | None = None
    """The workers, once they are known."""
    executioner_ends: Callable[[], None] | None = None
    """Lets successors of workers live from now on, where a fault kills them at birth."""

    _shim: ShimSession | None = None

    @property
    def running(self) -> Instance:
        """The instance. Only for what happens after the launch."""
        assert self.instance is not None, "the target has not been launched yet"
        return self.instance

    def launch(self, *, output: Path, ports: Mapping[str, int] | None = None, tmp: Path | None = None) -> Instance:
        """Starts an instance with all changes of this experiment, on its ports or on `ports`. See `Launcher.launch`."""
        return self.launcher.launch(
            target=self.target,
            ports=self.ports if ports is None else ports,
            workers=self.workers,
            changes=self.changes,
            output=output,
            tmp=tmp,
        )

    def seen_workers(self) -> list[int]:
        """The pids of all workers that were ever seen alive, in the order of their discovery."""
        assert self.births is not None and self.workers_found is not None
        kin = self.workers_found.kin
        return [
            one.pid
            for one in self.births.seen()
            if kin.has(pid=one.pid, parent=one.ppid, exe=one.exe, cmdline=one.cmdline)
        ]

    @property
    def port(self) -> int:
        """The HTTP port."""
        return self.ports["http"]

    def port_of(self, stream: Stream) -> int:
        """The number of the port that a stream goes to."""
        if self.fleet is not None:
            return self.fleet.port
        found = next((r for r in self.target.requests if r.name == stream.request), None)
        return self.port if found is None else self.ports[found.port]

    @property
    def sockets(self) -> Namespace:
        """Where the connections of the load end: with the target, or with the balancer in front of it."""
        return self.running.sockets if self.fleet is None else HERE

    def requests_in_load(self) -> list[Request]:
        """The requests that the streams send."""
        return [r for r in self.target.requests if any(s.request == r.name for s in self.streams)]

    def shim(self) -> ShimSession:
        """The shim of this experiment. A fault that is made inside the target asks for it in `prepare`."""
        if self._shim is None:
            self._shim = ShimSession(folder=self.folder / SHIM)
        return self._shim

    def install_shim(self) -> None:
        """Puts the shim into the environment of the target, if a fault asked for it. Before the launch."""
        if self._shim is None:
            return
        self._shim.install()
        code = self.share(INSIDE, inside="/drainproof/shim")
        folder = self.share(self._shim.folder, inside="/drainproof/session", read_only=False)
        declared = self.environment.get("PYTHONPATH", self.target.environment.get("PYTHONPATH"))
        inherited = self.launcher.inherited("PYTHONPATH")
        path = declared if declared is not None else placeholders.escape(inherited or "")
        ours = {k: placeholders.escape(v) for k, v in self._shim.environment(code=code, folder=folder).items()}
        ours["PYTHONPATH"] += os.pathsep + path if path else ""
        self.environment.update(ours)

    def share(self, folder: Path, *, inside: str, read_only: bool = True) -> str:
        """Lets the target see a folder of this machine; returns the path that it has there. Before the launch."""
        self.mounts.append(Mount(source=folder.absolute(), inside=inside, read_only=read_only))
        return self.launcher.seen(folder, inside=inside)

    @property
    def changes(self) -> Changes:
        """What this experiment changes of the launch."""
        return Changes(environment=self.environment, arguments=self.arguments, mounts=self.mounts, options=self.options)


Trigger = Callable[[], dict[str, Any]]
"""Does it and returns the proof: JSON values with `t` (when), `kind`, `proven` (bool) and `because` (a sentence)."""


class Fault(Protocol):
    """Something bad that is done to a target."""

    def check(self, target: Target) -> None:
        """Raises Unsupported where this target declares nothing that the fault needs. Touches nothing."""

    def prepare(self, bench: Bench) -> None:
        """Called before the launch."""

    def arm(self, bench: Bench) -> Trigger:
        """Everything that takes time is done here; the trigger that it returns acts at once.

        Called when the target runs, before the first fault's moment is waited for. Between the moment (a condition that
        holds now) and the fault nothing may be slow, or the condition is gone on a busy machine.
        """

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values, for the evidence."""


class Moment(Protocol):
    """When a fault is due."""

    @property
    def before_ready(self) -> bool:
        """Whether the moment lies in the start-up."""

    def wait(self, bench: Bench) -> None:
        """Returns when the moment has come. Raises Inconclusive when it does not come."""

    def describe(self) -> str:
        """The moment in words."""


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A fault at its moment."""

    moment: Moment
    fault: Fault
