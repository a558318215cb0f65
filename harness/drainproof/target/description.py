"""What a target is, resolved and immutable: everything that its manifest says, with the defaults filled in.

A `Target` is read from a manifest by `drainproof.target.manifest.load_target`, saved with the evidence by `to_json`,
and read back by `from_json`, so that evidence can be judged where the target's folder does not exist.
"""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from drainproof.errors import HarnessError
from drainproof.load.plan import Expectation, Protocol, Request
from drainproof.redaction import Secrets
from drainproof.target import placeholders
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.modes import LaunchMode
from drainproof.target.pod import Pod
from drainproof.target.supervision import Restart, Workers
from drainproof.target.systemd_spec import SystemdSpec
from drainproof.target.windows import BREAK, WindowsView

SecondSignal = Literal["ignored", "forces_exit"]
"""What an identical signal during the drain does: nothing, or an immediate exit with a non-zero status."""

StartupFailure = Literal["exits", "stays_up_not_ready"]
"""What the target does when its model cannot be loaded."""

Streams = Literal["complete", "cut"]
"""What becomes of a stream that is in progress when the target stops: it goes on to its end, or it is ended early by
the protocol's own end (a status in gRPC, the last chunk in HTTP)."""

ENDLESS = "endless"
"""How an infinite duration is written, in the manifest and in JSON (which has no infinity)."""


def default_exit_codes(signal_name: str) -> tuple[int, ...]:
    """0, and the status that a shell gives to a process that the signal killed: (0, 143) for SIGTERM."""
    return (0, 128 + signal.Signals[signal_name].value)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the target promises where good practice is contested; the requirements hold it to that."""

    grace_period: float = 30.0
    """Seconds from the stop signal to the moment at which its supervisor would send SIGKILL."""
    settle_time: float = 3.0
    """Seconds that the exit may come after the last answer (the exit of Python itself takes 0.3 to 3 s)."""
    stop_signals: tuple[str, ...] = ("SIGTERM", "SIGINT")
    """The signals that stop it in order, by name."""
    exit_codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """The exit statuses allowed after each stop signal, and after SIGBREAK; completed by `default_exit_codes`."""
    second_signal: Mapping[str, SecondSignal] = field(default_factory=dict)
    """For each stop signal; completed by "ignored"."""
    startup_failure: StartupFailure = "exits"
    streams: Streams = "complete"
    restart: Restart = field(default_factory=Restart)
    """What becomes of a worker that has died."""

    def __post_init__(self) -> None:
        codes = {name: tuple(self.exit_codes.get(name, default_exit_codes(name))) for name in self.stop_signals}
        if BREAK in self.exit_codes:
            codes[BREAK] = tuple(self.exit_codes[BREAK])
        second = {name: self.second_signal.get(name, "ignored") for name in self.stop_signals}
        object.__setattr__(self, "exit_codes", codes)
        object.__setattr__(self, "second_signal", second)


@dataclass(frozen=True, kw_only=True)
class Provocation:
    """How to start the target so that its model cannot be loaded: a situation that only its owner can describe."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the declared environment; values may hold placeholders."""
    arguments: tuple[str, ...] = ()
    """Added to the end of the command; may hold placeholders."""
    names_cause: str | None = None
    """A regular expression that the output must match somewhere: the cause, named."""


@dataclass(frozen=True, kw_only=True)
class FatalError:
    """A request that makes the server die of an internal error, and what it takes to have such a request."""

    request: Request
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the declared environment; values may hold placeholders."""
    arguments: tuple[str, ...] = ()
    """Added to the end of the command; may hold placeholders."""


@dataclass(frozen=True, kw_only=True)
class OwnFailPoint:
    """An exception in the target's own code that its owner declares. At most one of the times is given."""

    name: str
    site: str
    """`module:qualified.name`."""
    exception: str = "RuntimeError"
    shots: int = 1
    call: int | None = None
    later: float | None = None
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server under test. Durations are seconds; `command` and `environment` still hold their placeholders."""

    name: str
    launch: LaunchMode = "process"
    container: ContainerSpec | None = None
    """How it is run in a container; None where the manifest does not say."""
    systemd: SystemdSpec | None = None
    """How it is stopped and restarted as a unit; None in the other launch modes."""
    folder: Path
    """The manifest's folder, absolute: what `{folder}` stands for."""
    manifest: Path | None
    """The file that this was read from; None for a target that was made in code."""
    command: tuple[str, ...]
    working_directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    start_deadline: float = 30.0
    """Seconds from the start until it must be ready."""
    ports: tuple[str, ...] = ("http",)
    """Names; `http` is `{port}`, any other NAME is `{NAME_port}`."""
    workers: tuple[int, ...] = (1,)
    """The counts that `{workers}` may take, smallest first."""
    readiness: str
    """The path on the HTTP port that answers 2xx when the target is ready."""
    liveness: str | None = None
    """The path that answers 2xx as long as the target is alive; None where it has none."""
    requests: tuple[Request, ...]
    policy: Policy = field(default_factory=Policy)
    load_failure: Provocation | None = None
    worker_failure: Provocation | None = None
    """How to start it so that no worker can load its model."""
    fatal: FatalError | None = None
    workers_are: Workers = field(default_factory=Workers)
    """How its workers are recognised."""
    fail_points: Mapping[str, str] = field(default_factory=dict)
    """Where exceptions are raised inside the target, `module:qualified.name` by role; the shim finds the others."""
    own_fail_points: tuple[OwnFailPoint, ...] = ()
    """Further exceptions that its owner wants to see raised."""
    windows: WindowsView = field(default_factory=WindowsView)
    """Which code sees Windows where that is emulated."""
    pod: Pod | None = None
    """The pod that it runs in; None where the manifest says nothing of one."""
    secrets: Secrets = field(default_factory=Secrets)
    """Which variables and headers hold secrets, beside those whose names say so."""

    @property
    def supervised(self) -> tuple[int, ...]:
        """The counts of workers with which it has worker processes: several; and one, if workers are declared."""
        named = self.workers_are.command is not None or self.workers_are.pid is not None
        return tuple(count for count in self.workers if count > 1 or named)

    def fast(self, protocol: Protocol = "http") -> Request:
        """The request of that protocol with the shortest duration (the first of equals). Streams do not count."""
        return min(self._ordinary(protocol), key=lambda request: request.duration)

    def slow(self, protocol: Protocol = "http") -> Request:
        """The one with the longest finite duration (the first of equals); the same as `fast()` if there is one."""
        finite = [request for request in self._ordinary(protocol) if math.isfinite(request.duration)]
        if not finite:
            raise HarnessError(f"target {self.name} has no request of finite duration")
        return max(finite, key=lambda request: request.duration)

    def endless(self, protocol: Protocol = "http") -> Request | None:
        """The first request of that protocol that never ends by itself, if one is declared."""
        return next((r for r in self.requests if math.isinf(r.duration) and r.protocol == protocol), None)

    def speaks(self, protocol: Protocol) -> bool:
        """Whether an ordinary request of that protocol, which ends, is declared."""
        return any(r.protocol == protocol and not r.stream and math.isfinite(r.duration) for r in self.requests)

    def streaming(self, protocol: Protocol) -> Request | None:
        """The first stream of that protocol that ends by itself, if one is declared."""
        found = (r for r in self.requests if r.stream and r.protocol == protocol and math.isfinite(r.duration))
        return next(found, None)

    def _ordinary(self, protocol: Protocol) -> list[Request]:
        return [r for r in self.requests if r.protocol == protocol and not r.stream]

    def command_line(
        self, *, ports: Mapping[str, int], workers: int, tmp: Path, extra: Sequence[str] = ()
    ) -> list[str]:
        """The command with `extra` arguments at its end, all placeholders replaced.

        `ports` has a port number for each of `self.ports`; `tmp` is the instance's own temporary folder. `extra` is for
        the arguments of a provocation and may hold placeholders as well.
        """
        return self.arguments((*self.command, *extra), ports=ports, workers=workers, tmp=tmp)

    def arguments(self, templates: Sequence[str], *, ports: Mapping[str, int], workers: int, tmp: Path) -> list[str]:
        """Further words of a command, with their placeholders replaced as in `command_line`."""
        values = self._values(ports, workers, tmp)
        return [self._fill(part, values) for part in templates]

    def environment_for(
        self, *, ports: Mapping[str, int], workers: int, tmp: Path, extra: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The declared variables and no others, `extra` ones last, all placeholders in the values replaced."""
        values = self._values(ports, workers, tmp)
        return {name: self._fill(text, values) for name, text in {**self.environment, **(extra or {})}.items()}

    def _values(self, ports: Mapping[str, int], workers: int, tmp: Path) -> dict[str, str]:
        missing = [port for port in self.ports if port not in ports]
        if missing:
            raise HarnessError(f"target {self.name} needs a port number for {', '.join(missing)}")
        return {
            **{placeholders.port_placeholder(port): str(ports[port]) for port in self.ports},
            "workers": str(workers),
            "python": sys.executable,
            "folder": str(self.folder),
            "tmp": str(tmp),
        }

    def _fill(self, template: str, values: Mapping[str, str]) -> str:
        try:
            return placeholders.fill(template, values)
        except placeholders.PlaceholderError as error:  # load_target has checked them; this one was made in code
            raise HarnessError(f'target {self.name}: in "{template}": {error}') from error

    def to_json(self) -> dict[str, Any]:
        """The target as JSON values (an infinite duration is "endless"); the inverse of `from_json`."""
        return {
            **asdict(self),
            "folder": str(self.folder),
            "manifest": None if self.manifest is None else str(self.manifest),
            "working_directory": str(self.working_directory),
            "command": list(self.command),
            "ports": list(self.ports),
            "workers": list(self.workers),
            "requests": [_request_to_json(request) for request in self.requests],
            "policy": {
                **asdict(self.policy),
                "stop_signals": list(self.policy.stop_signals),
                "exit_codes": {name: list(codes) for name, codes in self.policy.exit_codes.items()},
                "restart": self.policy.restart.to_json(),
            },
            "workers_are": self.workers_are.to_json(),
            "own_fail_points": [asdict(point) for point in self.own_fail_points],
            "windows": self.windows.to_json(),
            "secrets": self.secrets.to_json(),
            "container": None if self.container is None else self.container.to_json(),
            "pod": None if self.pod is None else self.pod.to_json(),
            "systemd": None if self.systemd is None else self.systemd.to_json(),
            "load_failure": _provocation_to_json(self.load_failure),
            "worker_failure": _provocation_to_json(self.worker_failure),
            "fatal": None
            if self.fatal is None
            else {
                "request": _request_to_json(self.fatal.request),
                "environment": dict(self.fatal.environment),
                "arguments": list(self.fatal.arguments),
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Target:
        """Reads what `to_json` wrote. Raises HarnessError where that is damaged."""
        try:
            return cls(
                **{
                    **value,
                    "folder": Path(value["folder"]),
                    "manifest": None if value["manifest"] is None else Path(value["manifest"]),
                    "working_directory": Path(value["working_directory"]),
                    "command": tuple(value["command"]),
                    "ports": tuple(value["ports"]),
                    "workers": tuple(value["workers"]),
                    "requests": tuple(_request_from_json(request) for request in value["requests"]),
                    "policy": _policy_from_json(value["policy"]),
                    "own_fail_points": tuple(OwnFailPoint(**each) for each in value.get("own_fail_points", ())),
                    "windows": WindowsView.from_json(value.get("windows", WindowsView().to_json())),
                    "secrets": Secrets.from_json(value.get("secrets", Secrets().to_json())),
                    "container": _container(value.get("container")),
                    "pod": None if value.get("pod") is None else Pod.from_json(value["pod"]),
                    "systemd": None if not value.get("systemd") else SystemdSpec.from_json(value["systemd"]),
                    "load_failure": _provocation(value["load_failure"]),
                    "worker_failure": _provocation(value.get("worker_failure")),
                    "workers_are": Workers.from_json(value["workers_are"]) if "workers_are" in value else Workers(),
                    "fatal": None if value["fatal"] is None else _fatal_from_json(value["fatal"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HarnessError(f"not the description of a target: {type(error).__name__}: {error}") from error


def _request_to_json(request: Request) -> dict[str, Any]:
    return {
        **asdict(request),
        "duration": ENDLESS if math.isinf(request.duration) else request.duration,
        "expect": {**asdict(request.expect), "status": list(request.expect.status)},
    }


def _request_from_json(value: Mapping[str, Any]) -> Request:
    expect = value["expect"]
    return Request(
        **{
            **value,
            "duration": math.inf if value["duration"] == ENDLESS else float(value["duration"]),
            "expect": Expectation(**{**expect, "status": tuple(expect["status"])}),
        }
    )


def _policy_from_json(value: Mapping[str, Any]) -> Policy:
    return Policy(
        **{
            **value,
            "stop_signals": tuple(value["stop_signals"]),
            "exit_codes": {name: tuple(codes) for name, codes in value["exit_codes"].items()},
            "restart": Restart.from_json(value["restart"]) if "restart" in value else Restart(),
        }
    )


def _container(value: Mapping[str, Any] | None) -> ContainerSpec | None:
    return None if value is None else ContainerSpec.from_json(value)


def _provocation_to_json(provocation: Provocation | None) -> dict[str, Any] | None:
    return None if provocation is None else {**asdict(provocation), "arguments": list(provocation.arguments)}


def _provocation(value: Mapping[str, Any] | None) -> Provocation | None:
    return None if value is None else Provocation(**{**value, "arguments": tuple(value["arguments"])})


def _fatal_from_json(value: Mapping[str, Any]) -> FatalError:
    return FatalError(
        request=_request_from_json(value["request"]),
        environment=value["environment"],
        arguments=tuple(value["arguments"]),
    )
