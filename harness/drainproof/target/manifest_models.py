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

from drainproof.load import inference
from drainproof.load.answer import GRPC_CODES
from drainproof.nearest import nearest
from drainproof.target import placeholders
from drainproof.target.description import Policy
from drainproof.target.manifest_container import ContainerTable
from drainproof.target.manifest_grpc import Base64, ModelInfer, grpc_keys, grpc_mistakes, message_bytes
from drainproof.target.manifest_pods import KubernetesTable, PodTable, pod_mistakes
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_systemd import SystemdTable, start_mistakes, started
from drainproof.target.manifest_values import (
    TOKEN,
    Argument,
    Arguments,
    Contained,
    Count,
    Delay,
    Duration,
    ExceptionName,
    ExitCodes,
    ExitSignalName,
    Expression,
    FailPointSite,
    Headers,
    Json,
    MessageCount,
    Method,
    Name,
    PackageName,
    Pattern,
    PortName,
    Probability,
    ProtocolName,
    RequestPath,
    Restarts,
    RpcName,
    ScenarioName,
    ScheduleName,
    Seconds,
    SecondSignal,
    Share,
    Shots,
    SignalName,
    StartupFailure,
    Statuses,
    Streams,
    Text,
    TokenPattern,
    Truth,
    UrlPath,
    Variables,
    WorkerCounts,
)
from drainproof.target.mistakes import Location, wrong, wrong_at
from drainproof.target.modes import MODES, LaunchMode
from drainproof.target.windows import BREAK, SAYS_LIMITED


def _no_repeats(values: list[str]) -> list[str]:
    complain([((i,), "named twice") for i, value in enumerate(values) if value in values[:i]])
    return values


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
    ports: Annotated[list[PortName], AfterValidator(_no_repeats)] = ["http"]
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


class Expect(Section):
    """`expect`: the answer that counts as right."""

    status: Statuses | None = None
    contains: Contained | None = None
    json_value: Json = Field(default=None, alias="json")
    messages: MessageCount | None = None


class RequestTable(Section):
    """`[[request]]`: one kind of request."""

    name: Name | None = None
    protocol: ProtocolName = "http"
    method: Method | None = None
    path: RequestPath | None = Field(default=None, description='the path of the request, such as "/predict"')
    headers: Headers = {}
    json_value: Json = Field(default=None, alias="json")
    body: Text | None = None
    expect: Expect = Expect()
    duration: Duration = 0.0
    safe_to_repeat: Truth = True
    stream: Truth = False
    rpc: RpcName | None = None
    port: PortName | None = None
    message: Text | None = None
    message_base64: Base64 | None = None
    message_file: Argument | None = None
    model_infer: ModelInfer | None = None

    @property
    def is_grpc(self) -> bool:
        """Whether it goes to a gRPC method."""
        return self.protocol == "grpc"

    @property
    def has_json(self) -> bool:
        """Whether `json` was given."""
        return "json_value" in self.model_fields_set

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> RequestTable:
        folder: Path = info.context["folder"] if info.context else Path()
        found = grpc_mistakes(self, folder) if self.is_grpc else self._http_mistakes()
        found += self._mixed_up() + self._status_mistakes()
        names = [name.lower() for name in self.headers]
        found += [
            (("headers", name), "the same header twice (their case does not count)")
            for i, name in enumerate(self.headers)
            if name.lower() in names[:i]
        ]
        found += self._token_mistakes(folder) if not found else []
        complain(found)
        return self

    def _http_mistakes(self) -> Found:
        found: Found = []
        if self.path is None:
            found.append((("path",), 'missing; expected the path of the request, such as "/predict"'))
        if self.has_json and self.body is not None:
            found.append((("body",), "there is json already; a request has one of them"))
        return found

    def _mixed_up(self) -> Found:
        """Keys of one protocol in a request of the other."""
        if self.is_grpc:
            given = [name for name in ("method", "path", "body") if getattr(self, name) is not None]
            given += ["json"] if self.has_json else []
            other = {"method": "rpc", "path": "rpc"}
            text = 'a gRPC request (protocol = "grpc") has no {}; it has {}'
            found: Found = [((name,), text.format(name, other.get(name, "message or model_infer"))) for name in given]
            if "json_value" in self.expect.model_fields_set:
                found.append((("expect", "json"), "a gRPC message is no JSON; expect.contains looks at its bytes"))
            return found
        found = [((name,), f'only a gRPC request has {name}: add protocol = "grpc"') for name in grpc_keys(self)]
        if self.expect.messages is not None:
            found.append((("expect", "messages"), 'only a gRPC stream has messages to count: protocol = "grpc"'))
        return found

    def _status_mistakes(self) -> Found:
        found: Found = []
        if self.is_grpc and self.expect.messages is not None and not self.stream:
            found.append((("expect", "messages"), "only a stream has several: add stream = true"))
        for each in self.expect.status or ():
            if self.is_grpc and each not in GRPC_CODES:
                found.append((("expect", "status"), 'expected names of gRPC status codes here, such as "OK"'))
            elif not self.is_grpc and each in GRPC_CODES:
                found.append((("expect", "status"), 'expected HTTP statuses here; names are for protocol = "grpc"'))
        return found[:2]

    def _token_mistakes(self, folder: Path) -> Found:
        if self.is_grpc:
            sent = [*self.headers.values(), message_bytes(self, folder).decode(errors="replace")]
            where = "message or headers"
        else:
            sent = [self.path or "", *self.headers.values(), self.body or "", json.dumps(self.json_value)]
            where = "path, headers, json or body"
        if any(TOKEN in text for text in sent):
            return []
        found: Found = []
        hint = f"the request has no {TOKEN} in its {where}, so its answer cannot have it"
        if TOKEN in (self.expect.contains or ""):
            found.append((("expect", "contains"), hint))
        if TOKEN in json.dumps(self.expect.json_value):
            found.append((("expect", "json"), hint))
        return found


class PolicyChange(Section):
    """`[policy.container]` and the like: what the target promises in one launch mode, where that is something else."""

    grace_period: Seconds = 30.0
    settle_time: Seconds = 3.0
    stop_signals: Annotated[list[SignalName], AfterValidator(_no_repeats)] = []
    exit_codes: dict[ExitSignalName, ExitCodes] = {}
    second_signal: dict[SignalName, SecondSignal] = {}


class SystemdPolicy(Section):
    """`[policy.systemd]`. Stop signal and grace period are the unit's own: KillSignal= and TimeoutStopSec=."""

    settle_time: Seconds = 3.0
    exit_codes: ExitCodes | None = None
    second_signal: SecondSignal | None = None


class RestartTable(Section):
    """`[policy.restart]`: what becomes of a worker that has died."""

    schedule: ScheduleName | None = None
    first_delay: Delay = 1.0
    longest_delay: Seconds | None = None
    max_restarts: Restarts | None = None
    max_seconds: Seconds | None = None
    tolerance: Share = 0.25
    recovery: Seconds | None = None
    answer_within: Seconds = 10.0
    observe: Seconds = 60.0

    @model_validator(mode="after")
    def _check(self) -> RestartTable:
        given = self.model_fields_set
        found: Found = []
        if self.schedule is None:
            text = 'there is no schedule that it belongs to; add one, such as schedule = "doubling"'
            found += [((key,), text) for key in ("first_delay", "longest_delay", "tolerance") if key in given]
        elif isinstance(self.schedule, tuple) and "first_delay" in given:
            found.append((("first_delay",), "the schedule is a list, which names its first delay already"))
        if self.longest_delay is not None and self.longest_delay < self.first_delay and not found:
            found.append((("longest_delay",), f"expected no less than first_delay, which is {self.first_delay:g} s"))
        complain(found)
        return self


class PolicyTable(Section):
    """`[policy]`: what the target promises."""

    grace_period: Seconds | None = None
    settle_time: Seconds = 3.0
    stop_signals: Annotated[list[SignalName], AfterValidator(_no_repeats)] = ["SIGTERM", "SIGINT"]
    exit_codes: dict[ExitSignalName, ExitCodes] = {}
    second_signal: dict[SignalName, SecondSignal] = {}
    startup_failure: StartupFailure = "exits"
    streams: Streams = "complete"
    restart: RestartTable = RestartTable()
    process: PolicyChange | None = None
    container: PolicyChange | None = None
    systemd: SystemdPolicy | None = None

    def in_mode(self, mode: LaunchMode) -> PolicyTable:
        """The policy of one launch mode: what is declared for it in place of what is declared for all."""
        change = self.process if mode == "process" else self.container if mode == "container" else None
        if change is None:
            return self
        return self.model_copy(
            update={
                **change.model_dump(exclude_unset=True),
                "exit_codes": {**self.exit_codes, **change.exit_codes},
                "second_signal": {**self.second_signal, **change.second_signal},
            }
        )

    @model_validator(mode="after")
    def _check(self) -> PolicyTable:
        found = _signal_mistakes(self)
        for mode in MODES:
            if mode != "systemd" and getattr(self, mode) is not None:
                found += [((mode, *place), text) for place, text in _signal_mistakes(self.in_mode(mode))]
        complain(found)
        return self


def _signal_mistakes(policy: PolicyTable) -> Found:
    """What a policy says of signals that are no stop signals."""
    found: Found = []
    if not policy.stop_signals:
        found.append((("stop_signals",), 'expected at least one signal, such as "SIGTERM"'))
    for key, table in (("exit_codes", policy.exit_codes), ("second_signal", policy.second_signal)):
        for name in table:
            if name not in (*policy.stop_signals, BREAK):
                text = f"{name} is not a stop signal of this target; those are {', '.join(policy.stop_signals)}"
                found.append(((key, name), text + " (policy.stop_signals)"))
    return found


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


class Fatal(RequestTable):
    """`[provoke.fatal]`: a request that the server dies of."""

    env: Variables = {}
    args: Arguments = []


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


def request_method(request: RequestTable) -> str:
    """The declared method; GET without a body and POST with one where none is declared; "gRPC" for such a request."""
    if request.is_grpc:
        return "gRPC"
    return request.method or ("POST" if request.has_json or request.body is not None else "GET")


def request_name(request: RequestTable) -> str:
    """The declared name, or method and path."""
    return request.name or f"{request_method(request)} {request_path(request)}"


def request_path(request: RequestTable) -> str:
    """The path; of a gRPC request the method that it calls."""
    return (request.rpc or inference.METHOD) if request.is_grpc else (request.path or "")


def request_port(request: RequestTable) -> str:
    """The name of the port that it goes to."""
    return (request.port or "grpc") if request.is_grpc else "http"


def fatal_name(fatal: Fatal) -> str:
    """The declared name, or "fatal"."""
    return fatal.name or "fatal"
