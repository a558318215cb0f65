"""The sections of a manifest, and the checks across their keys.

A section's checks are its own `model_validator`, so that they run, and report, whatever is wrong in other sections;
what concerns several sections is checked by `Manifest`, once each of them is right in itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from drainproof.nearest import nearest
from drainproof.target import placeholders
from drainproof.target.description import Policy
from drainproof.target.manifest_container import ContainerTable
from drainproof.target.manifest_pods import KubernetesTable, PodTable, pod_mistakes
from drainproof.target.manifest_policy import PolicyTable
from drainproof.target.manifest_requests import Fatal, RequestTable, fatal_name, request_name, request_port
from drainproof.target.manifest_section import Found, Section, complain, no_repeats
from drainproof.target.manifest_systemd import SystemdTable, start_mistakes, started
from drainproof.target.manifest_values import (
    Argument,
    Arguments,
    Count,
    ExceptionName,
    Expression,
    FailPointSite,
    Json,
    Name,
    PackageName,
    Pattern,
    PortName,
    Probability,
    ScenarioName,
    Seconds,
    Shots,
    TokenPattern,
    UrlPath,
    Variables,
    WorkerCounts,
)
from drainproof.target.mistakes import Location, wrong, wrong_at
from drainproof.target.windows import SAYS_LIMITED


def _placeholder_mistake(template: str, ports: Iterable[str]) -> str | None:
    """What is wrong with the placeholders of `template`; None if nothing is."""
    valid = placeholders.valid_names(ports)
    try:
        unknown = next((name for name in placeholders.names(template) if name not in valid), None)
    except placeholders.PlaceholderError as error:
        return str(error)
    if unknown is None:
        return None
    closest = nearest(unknown, valid)
    if unknown.endswith("_port") and unknown != "http_port" and closest in (None, "port"):
        suggestion = f' If it is one more port, declare it: ports = ["http", "{unknown.removesuffix("_port")}"].'
    else:
        suggestion = "" if closest is None else f" Did you mean {{{closest}}}?"
    known = ", ".join(f"{{{name}}}" for name in valid)
    return f"unknown placeholder {{{unknown}}}.{suggestion} Valid here: {known}; a brace itself is written {{{{ or }}}}"


def _placeholder_mistakes(
    *, arguments: list[str], arguments_key: str, variables: dict[str, str], ports: Iterable[str]
) -> Found:
    """The same for all arguments and environment variables of a section."""
    places: list[tuple[Location, str]] = [((arguments_key, i), argument) for i, argument in enumerate(arguments)]
    places += [(("env", name), value) for name, value in variables.items()]
    return [(place, text) for place, template in places if (text := _placeholder_mistake(template, ports)) is not None]


class Start(Section):
    """`[start]`: how to start the target. The validation context `folder` is the manifest's folder."""

    command: Arguments = Field(description='the command that starts the server, such as ["{python}", "server.py"]')
    cwd: Argument = "."
    env: Variables = {}
    deadline: Seconds = 30.0
    ports: Annotated[list[PortName], AfterValidator(no_repeats)] = ["http"]
    workers: WorkerCounts = (1,)

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Start:
        found: Found = []
        ports = self.ports if "http" in self.ports else ["http", *self.ports]
        if ports != self.ports:
            found.append((("ports",), 'expected "http" among them: it is the port that the load goes to'))
        if self.command and self.command[0]:
            found += _placeholder_mistakes(
                arguments=self.command, arguments_key="command", variables=self.env, ports=ports
            ) or self._unused(ports)
        else:
            found.append((("command",), "expected a command: the program and its arguments"))
        folder: Path = info.context["folder"] if info.context else Path()
        try:
            there = (folder / self.cwd).is_dir()
        except OSError:  # a name too long, a folder that may not be entered
            there = False
        if not there:
            found.append((("cwd",), f"there is no such folder in {folder}"))
        complain(found)
        return self

    def _unused(self, ports: list[str]) -> Found:
        """What is declared, but never reaches the command; all placeholders must be right."""
        used = {name for text in (*self.command, *self.env.values()) for name in placeholders.names(text)}
        found: Found = []
        for port in ports:
            placeholder = placeholders.port_placeholder(port)
            if placeholder in used:
                continue
            if port == "http":
                text = "expected {port} in it, or in start.env: it tells the server its port, a new one for each start"
                found.append((("command",), text))
            else:
                found.append(
                    (
                        ("ports", self.ports.index(port)),
                        f"never used: expected {{{placeholder}}} in start.command or in start.env",
                    )
                )
        if len(self.workers) > 1 and "workers" not in used:
            text = "several counts, but there is no {workers} in start.command or in start.env to tell the server"
            found.append((("workers",), text))
        return found


class Health(Section):
    """`[health]`: the paths on the HTTP port that tell the target's state."""

    readiness: UrlPath = Field(description='the path that answers 2xx when the server is ready, such as "/ready"')
    liveness: UrlPath | None = None


class LoadFailure(Section):
    """`[provoke.load_failure]`: a start at which the model cannot be loaded."""

    env: Variables = {}
    args: Arguments = []
    names_cause: Pattern | None = None

    @model_validator(mode="after")
    def _check(self) -> LoadFailure:
        if not self.env and not self.args:
            raise wrong("expected env or args (or both): without them it would be a start like any other")
        return self


class WorkerFailure(LoadFailure):
    """`[provoke.worker_failure]`: a start at which no worker can load its model."""


class Provoke(Section):
    """`[provoke]`: situations that only the target's owner can bring about."""

    load_failure: LoadFailure | None = None
    worker_failure: WorkerFailure | None = None
    fatal: Fatal | None = None


class DescribeTable(Section):
    """`[workers.describe]`: where the target tells of its workers."""

    path: UrlPath = Field(description='the path that tells of the workers, such as "/models/echo"')
    port: PortName = "http"
    settings: Expression | None = None
    expect: Json = None
    workers: Expression | None = None

    @model_validator(mode="after")
    def _check(self) -> DescribeTable:
        if self.expect is not None and self.settings is None:
            raise wrong_at([(("expect",), "there is no settings to say which value of the answer this is")])
        return self


class WorkersTable(Section):
    """`[workers]`: how worker processes are recognised, and what the target tells of them."""

    command: Pattern | None = None
    pid: Expression | None = None
    executed: TokenPattern | None = None
    describe: DescribeTable | None = None


class OwnFailPointTable(Section):
    """`[[fail_points.own]]`: an exception of the owner's choice."""

    name: ScenarioName = Field(description="a name for it, of letters, digits, - and _")
    at: FailPointSite = Field(description='the place of a function, such as "package.module:Class.method"')
    raises: ExceptionName = "RuntimeError"
    shots: Shots = 1
    call: Count | None = None
    later: Seconds | None = None
    probability: Probability | None = None

    @model_validator(mode="after")
    def _check(self) -> OwnFailPointTable:
        times = [name for name in ("call", "later", "probability") if getattr(self, name) is not None]
        if len(times) > 1:
            raise wrong_at(
                [((times[1],), f"there is {times[0]} already; a fail point has one of call, later, probability")]
            )
        return self


class FailPoints(Section):
    """`[fail_points]`: where exceptions are raised inside the target, `module:qualified.name` by role."""

    handler: FailPointSite | None = None
    main: FailPointSite | None = None
    rest: FailPointSite | None = None
    grpc: FailPointSite | None = None
    task: FailPointSite | None = None
    callback: FailPointSite | None = None
    stop: FailPointSite | None = None
    load: FailPointSite | None = None
    own: list[OwnFailPointTable] = []

    @model_validator(mode="after")
    def _check(self) -> FailPoints:
        names = [each.name for each in self.own]
        repeated = [i for i, name in enumerate(names) if name in names[:i]]
        complain([(("own", i, "name"), "a second fail point of that name") for i in repeated])
        return self


class Windows(Section):
    """`[windows]`: which code sees Windows where that is emulated."""

    packages: list[PackageName] = []
    folders: list[Argument] = []
    says_limited: Pattern = SAYS_LIMITED

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Windows:
        base: Path = info.context["folder"] if info.context else Path()
        text = f"there is no such folder in {base}"
        complain([(("folders", i), text) for i, name in enumerate(self.folders) if not (base / name).is_dir()])
        return self


class SecretsTable(Section):
    """`[secrets]`: names of environment variables and headers."""

    names: list[Name] = []
    harmless: list[Name] = []

    @model_validator(mode="after")
    def _check(self) -> SecretsTable:
        marked = {name.casefold() for name in self.names}
        text = "it is among the names as well; a value is a secret, or it is not"
        complain([(("harmless", i), text) for i, name in enumerate(self.harmless) if name.casefold() in marked])
        return self


class Manifest(Section):
    """The whole file."""

    name: Name | None = None
    container: ContainerTable | None = None
    systemd: SystemdTable | None = None
    start: Start | None = Field(
        default=None,
        validate_default=True,  # what is missing is found by looking at the two others, which is why they come first
        description="the section [start] with the command, or [container] with an image, or [systemd] with a unit",
    )
    health: Health = Field(description="the section [health] with the path readiness")
    request: list[RequestTable] = Field(description="at least one [[request]]")
    policy: PolicyTable = PolicyTable()
    provoke: Provoke = Provoke()
    fail_points: FailPoints = FailPoints()
    windows: Windows = Windows()
    workers: WorkersTable = WorkersTable()
    kubernetes: KubernetesTable | None = None
    pod: PodTable | None = None
    secrets: SecretsTable = SecretsTable()

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Manifest:
        folder: Path = info.context["folder"] if info.context else Path()
        complain(
            [
                *self._launch_mistakes(),
                *self._systemd_mistakes(folder),
                *self._request_mistakes(),
                *self._provoke_mistakes(),
                *self._describe_mistakes(),
                *pod_mistakes(self.pod, self.ports),
            ]
        )
        return self

    @field_validator("start")
    @classmethod
    def _some_launch(cls, value: Start | None, info: ValidationInfo) -> Start | None:
        others = [info.data[name] for name in ("container", "systemd") if name in info.data]
        if value is None and others == [None, None]:
            raise PydanticCustomError("missing", "see the description")
        return value

    @property
    def ports(self) -> tuple[str, ...]:
        """The names of the ports: the same in every launch mode."""
        if self.start is not None:
            return tuple(self.start.ports)
        if self.container is not None:
            return tuple(self.container.ports)
        return tuple((self.systemd and self.systemd.ports) or ["http"])

    @property
    def inside_ports(self) -> dict[str, int | None]:
        """The same names, with the numbers that a container has them by; None where there is no container."""
        return {name: None if self.container is None else self.container.ports.get(name) for name in self.ports}

    def _launch_mistakes(self) -> Found:
        if self.container is None:
            return []
        names = set(self.container.ports)
        if self.start is not None and names != set(self.start.ports):
            text = f"expected the names that start.ports has: {', '.join(self.start.ports)}"
            return [(("container", "ports"), text)]
        variables = self.container.env
        found = _placeholder_mistakes(
            arguments=self.container.command, arguments_key="command", variables=variables, ports=self.ports
        )
        return [(("container", *place), text) for place, text in found]

    def _systemd_mistakes(self, folder: Path) -> Found:
        table = self.systemd
        if table is None:
            return []
        if table.ports is not None and set(table.ports) != set(self.ports):
            text = (
                f"expected the names that {'start' if self.start else 'container'}.ports has: {', '.join(self.ports)}"
            )
            return [(("systemd", "ports"), text)]
        if "http" not in self.ports:
            return [(("systemd", "ports"), 'expected "http" among them: it is the port that the load goes to')]
        found = _placeholder_mistakes(
            arguments=table.command, arguments_key="command", variables=table.env, ports=self.ports
        )
        if found:
            return [(("systemd", *place), text) for place, text in found]
        if table.cwd is not None and not (folder / table.cwd).is_dir():
            return [(("systemd", "cwd"), f"there is no such folder in {folder}")]
        start = started(
            table,
            table.read(folder),
            command=[] if self.start is None else self.start.command,
            environment={} if self.start is None else self.start.env,
        )
        workers = table.workers or (() if self.start is None else self.start.workers)
        return start_mistakes(start, table=table, ports=self.ports, workers=workers)

    def _describe_mistakes(self) -> Found:
        describe = self.workers.describe
        if describe is None or describe.port in ("http", *self.ports):
            return []
        known = ", ".join(f'"{port}"' for port in self.ports)
        return [(("workers", "describe", "port"), f"there is no port of that name; those of the target are {known}")]

    def _request_mistakes(self) -> Found:
        if not self.request:
            return [(("request",), "expected at least one [[request]]")]
        grace_period = self.grace_period
        found: Found = [] if grace_period is None else self.too_long(grace_period)
        names: list[str] = []
        for index, request in enumerate(self.request):
            name = request_name(request)
            if name in names:
                found.append((("request", index, "name"), f'a second request named "{name}"; each needs its own name'))
            names.append(name)
            found += self._port_mistakes(index, request)
        # Before a fault the kernel's table of one gRPC port is read; calls to another would be judged by it.
        first = next((request_port(request) for request in self.request if request.is_grpc), None)
        for index, request in enumerate(self.request):
            if request.is_grpc and request_port(request) != first:
                text = f'there are gRPC requests to the port "{first}"; expected one port for all of them'
                found.append((("request", index, "port" if request.port is not None else "protocol"), text))
        ordinary = [request for request in self.request if not request.is_grpc and not request.stream]
        if all(math.isinf(request.duration) for request in ordinary):
            text = "expected at least one request that ends: the target must answer to be ready"
            if len(ordinary) < len(self.request):
                text += " (an HTTP request that is no stream)"
            found.append((("request",), text))
        if self.provoke.fatal is not None and fatal_name(self.provoke.fatal) in names:
            text = f'a second request named "{fatal_name(self.provoke.fatal)}"; each needs its own name'
            found.append((("provoke", "fatal", "name"), text))
        return found

    @property
    def grace_period(self) -> float | None:
        """The policy's; None where it is left to the Kubernetes manifest, which may say one."""
        of_pod = None if self.pod is None else self.pod.grace_period
        default = Policy.grace_period if self.kubernetes is None else None
        return next((each for each in (self.policy.grace_period, of_pod, default) if each is not None), None)

    def too_long(self, grace_period: float) -> Found:
        """The requests that nobody can answer within the grace period."""
        text = (
            f"nobody can answer it within the grace period of {grace_period:g} s: "
            "shorten the one or lengthen the other (policy.grace_period)"
        )
        return [
            (("request", index, "duration"), text)
            for index, request in enumerate(self.request)
            if grace_period <= request.duration < math.inf
        ]

    def _port_mistakes(self, index: int, request: RequestTable) -> Found:
        port = request_port(request)
        if port in self.ports:
            return []
        closest = nearest(port, self.ports)
        hint = f' Did you mean "{closest}"?' if closest is not None else ""
        if self.start is None and self.container is None:
            text = f'systemd.ports has no port "{port}".{hint} To declare it: ports = {json.dumps([*self.ports, port])}'
            return [(("request", index, "port" if request.port is not None else "protocol"), text)]
        if self.start is None:
            text = f'container.ports has no port "{port}".{hint} To declare it: {port} = the number that it has inside'
            return [(("request", index, "port" if request.port is not None else "protocol"), text)]
        ports = json.dumps([*self.ports, port])
        text = f'start.ports has no port "{port}".{hint} To declare it: ports = {ports}, and {{{port}_port}} in it'
        return [(("request", index, "port" if request.port is not None else "protocol"), text)]

    def _provoke_mistakes(self) -> Found:
        found: Found = []
        for key in ("load_failure", "worker_failure", "fatal"):
            each: LoadFailure | Fatal | None = getattr(self.provoke, key)
            if each is not None:
                wrong_ones = _placeholder_mistakes(
                    arguments=each.args, arguments_key="args", variables=each.env, ports=self.ports
                )
                found += [(("provoke", key, *place), text) for place, text in wrong_ones]
        return found
