"""From a manifest to a `Target`: finds the file, reads it, resolves what it leaves out.

The rules are in `manifest_values` (each value), `manifest_models` (the whole) and a module for each larger section;
`mistakes` tells what is wrong.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from drainproof.errors import ManifestError
from drainproof.hidden import REDACTED
from drainproof.load.answer import GRPC_CODES
from drainproof.load.plan import Expectation, Request
from drainproof.nearest import did_you_mean, nearest
from drainproof.redaction import Conflict, Secrets, conflicts
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import (
    FatalError,
    OwnFailPoint,
    Policy,
    Provocation,
    SecondSignal,
    StartupFailure,
    Streams,
    Target,
)
from drainproof.target.manifest_grpc import message_text
from drainproof.target.manifest_models import LoadFailure, Manifest, OwnFailPointTable, Windows, WorkersTable
from drainproof.target.manifest_pods import read_pod
from drainproof.target.manifest_policy import PolicyTable
from drainproof.target.manifest_requests import (
    Fatal,
    RequestTable,
    fatal_name,
    request_method,
    request_name,
    request_path,
    request_port,
)
from drainproof.target.manifest_systemd import started
from drainproof.target.mistakes import Mistake, dotted, report, show, translate
from drainproof.target.modes import MODES, LaunchMode
from drainproof.target.pod import Pod
from drainproof.target.supervision import Describe, Restart, Workers
from drainproof.target.systemd_spec import SystemdSpec
from drainproof.target.windows import WindowsView
from drainproof.toml_file import parse_toml, read_toml

FILE = "drainproof.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "drainproof")
"""Where the manifest is in a `pyproject.toml`."""

SMALLEST = """\
[start]
command = ["{python}", "server.py", "--port", "{port}"]

[health]
readiness = "/ready"

[[request]]
path = "/predict"
json = { id = "{token}" }
expect = { contains = "{token}" }
"""
"""The smallest useful manifest, shown to whoever has none."""


def load_target(path: Path, *, launch: str | None = None) -> Target:
    """Reads the target that `path` names: a manifest (a TOML file), or a folder that has one.

    `launch`: the launch mode; None: the first of `MODES` that the manifest declares.
    A folder's manifest is its `drainproof.toml`, otherwise `[tool.drainproof]` in its `pyproject.toml`. Raises
    ManifestError, which lists every mistake that was found.
    """
    path = Path(path)
    try:
        file = _find(path)
        return _target(read_toml(file, error=ManifestError), file, launch)
    except RecursionError as error:
        raise ManifestError(f"{path}: its values are nested too deeply to be read") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror or error}") from error


def parse_target(text: str, *, file: Path) -> Target:
    """The target that the manifest `text` describes, as if it were in `file`. Raises ManifestError."""
    return _target(parse_toml(text, file=file, error=ManifestError), file, None)


def _target(document: dict[str, Any], file: Path, launch: str | None) -> Target:
    table, prefix = _manifest_table(document, file)
    manifest = _validate(table, file=file, prefix=prefix)
    target = _resolve(manifest, file, mode=_mode(manifest, launch, file), prefix=prefix)
    if found := conflicts(target):
        raise ManifestError(report([_cannot_be_hidden(each, prefix) for each in found], file=str(file)))
    return target


def _cannot_be_hidden(conflict: Conflict, prefix: str) -> Mistake:
    otherwise = f"or list the name under secrets.harmless if the value of {conflict.name} is no secret"
    if conflict.key is None:
        text = (
            "its name says that it is a secret, but the value is a part of what the output is searched for: hiding it "
            f"would hide that, and a failure with it; choose another value, {otherwise}"
        )
        return Mistake(key=conflict.name, value=REDACTED, text=text)
    text = (
        f"the value of {conflict.name} is in it, which is a secret and so is not in the output any more when that is "
        f"compared with this; write what the output says besides, {otherwise}"
    )
    return Mistake(key=prefix + conflict.key, value=REDACTED, text=text)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What a list of targets says of one."""

    name: str
    manifest: Path
    modes: tuple[LaunchMode, ...]
    """In which it can be launched; the first one is the default."""


def outline(path: Path) -> Outline:
    """Reads as much of the manifest that `path` names (as for `load_target`). Raises ManifestError."""
    file = _find(path)
    table, prefix = _manifest_table(read_toml(file, error=ManifestError), file)
    manifest = _validate(table, file=file, prefix=prefix)
    return Outline(name=manifest.name or _default_name(file), manifest=file, modes=_declared(manifest))


def has_manifest(folder: Path) -> bool:
    """Whether `load_target` would find a manifest in `folder`. Says nothing about whether it is right."""
    if (folder / FILE).is_file():
        return True
    try:
        return (folder / PYPROJECT).is_file() and _has_table(read_toml(folder / PYPROJECT, error=ManifestError))
    except (ManifestError, OSError):
        return False


def _find(path: Path) -> Path:
    """The manifest's file. Raises ManifestError where there is none, with what to write."""
    if path.is_file():
        if path.suffix != ".toml":
            raise ManifestError(f"{path}: expected a folder or a TOML file (a name that ends in .toml)")
        return path.parent.resolve() / path.name  # a link to a shared manifest belongs to the folder of the link
    if not path.is_dir():
        if path.exists():
            raise ManifestError(f"{path}: expected a folder or a TOML file, this is neither")
        raise ManifestError(f"{path}: there is no such file or folder.{_similar(path)}")
    folder = path.resolve()
    if (folder / FILE).is_file():
        return folder / FILE
    if (folder / PYPROJECT).is_file() and _has_table(read_toml(folder / PYPROJECT, error=ManifestError)):
        return folder / PYPROJECT
    raise ManifestError(
        f"{path}: there is no {FILE} in this folder, and no [tool.drainproof] in a {PYPROJECT}."
        f"{_similar(folder / FILE)}\n"
        f"Create {folder / FILE}; the smallest one is:\n\n{SMALLEST}"
    )


def _similar(path: Path) -> str:
    """` Did you mean …?` for a neighbour with nearly the same name."""
    try:
        neighbours = [each.name for each in path.absolute().parent.iterdir()]
    except OSError:
        return ""
    found = nearest(path.name, neighbours)
    return "" if found is None or found in (PYPROJECT, path.name) else f" Did you mean {path.parent / found}?"


def _has_table(document: Mapping[str, Any]) -> bool:
    tool = document.get(TABLE[0])
    return isinstance(tool, dict) and TABLE[1] in tool


def _manifest_table(document: dict[str, Any], file: Path) -> tuple[dict[str, Any], str]:
    """The manifest in a document, and what stands before its keys."""
    if not _has_table(document):
        if file.name == PYPROJECT:
            raise ManifestError(f"{file}: has no [tool.drainproof]; expected [tool.drainproof.start] …, or a {FILE}")
        return document, ""
    table = document[TABLE[0]][TABLE[1]]
    if not isinstance(table, dict):
        mistake = Mistake(key="tool.drainproof", value=show(table), text="expected a table: [tool.drainproof.start] …")
        raise ManifestError(report([mistake], file=str(file)))
    return table, "tool.drainproof."


def _validate(table: dict[str, Any], *, file: Path, prefix: str) -> Manifest:
    try:
        return Manifest.model_validate(table, context={"folder": file.parent})
    except ValidationError as error:
        mistakes = translate(error, model=Manifest, data=table, prefix=prefix)
        raise ManifestError(report(mistakes, file=str(file))) from None


def _mode(manifest: Manifest, wanted: str | None, file: Path) -> LaunchMode:
    """The launch mode. Raises ManifestError where the manifest does not say how to launch in it."""
    declared = _declared(manifest)
    if wanted is None:
        return declared[0]
    if wanted not in MODES:
        raise ManifestError(f"launch mode {wanted!r}: expected one of {', '.join(MODES)}.{did_you_mean(wanted, MODES)}")
    if wanted not in declared:
        section: dict[LaunchMode, str] = {
            "process": "[start] with a command",
            "container": "[container] with an image or a build folder",
            "systemd": "[systemd] with a unit",
        }
        raise ManifestError(f"{file}: does not say how to launch the target as {wanted}: add {section[wanted]}")
    return wanted


def _declared(manifest: Manifest) -> tuple[LaunchMode, ...]:
    sections: dict[LaunchMode, object] = {
        "process": manifest.start,
        "container": manifest.container,
        "systemd": manifest.systemd,
    }
    return tuple(mode for mode in MODES if sections.get(mode) is not None)


def _resolve(manifest: Manifest, file: Path, *, mode: LaunchMode, prefix: str) -> Target:
    target = _common(manifest, file, mode)
    if found := manifest.too_long(target.policy.grace_period):  # by what the Kubernetes manifest says
        durations = {place: manifest.request[int(place[1])].duration for place, _ in found}
        mistakes = [
            Mistake(key=prefix + dotted(place), value=show(durations[place]), text=text) for place, text in found
        ]
        raise ManifestError(report(mistakes, file=str(file)))
    if mode == "container":
        return replace(target, **_in_container(manifest, file.parent))
    if mode == "systemd":
        return replace(target, **_as_unit(manifest, file.parent, policy=target.policy))
    return replace(target, **_as_process(manifest, file.parent))


def _as_process(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """What `[start]` says."""
    start = manifest.start
    assert start is not None, "the mode was chosen among those that are declared"
    return {
        "command": tuple(start.command),
        "working_directory": (folder / start.cwd).resolve(),
        "environment": start.env,
        "start_deadline": start.deadline,
        "workers": start.workers,
    }


def _in_container(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """What `[container]` says, and for the rest what `[start]` does."""
    table, start = manifest.container, manifest.start
    assert table is not None, "the mode was chosen among those that are declared"
    deadline = table.deadline or (start.deadline if start is not None else None)
    return {
        "command": tuple(table.command),
        "environment": table.env,
        "workers": table.workers or (1,),
        **({} if deadline is None else {"start_deadline": deadline}),
        "container": ContainerSpec(
            image=table.image,
            build=None if table.build is None else (folder / table.build).resolve(),
            dockerfile=table.dockerfile,
            build_args=tuple(table.build_args),
            ports={name: table.ports[name] for name in manifest.ports},
            init=table.init,
            user=table.user,
        ),
    }


def _as_unit(manifest: Manifest, folder: Path, *, policy: Policy) -> dict[str, Any]:
    """What `[systemd]` and the unit file say, and for the rest what `[start]` does."""
    table, start = manifest.systemd, manifest.start
    assert table is not None, "the mode was chosen among those that are declared"
    unit = table.read(folder)
    spec = table.spec(unit)
    begun = started(
        table,
        unit,
        command=[] if start is None else start.command,
        environment={} if start is None else start.env,
    )
    directory = begun.working_directory or (start.cwd if start is not None else ".")
    deadline = table.deadline or (start.deadline if start is not None else None)
    return {
        "command": tuple(begun.command),
        "environment": begun.environment,
        "working_directory": (folder / directory).resolve(),
        "workers": table.workers or (start.workers if start is not None else (1,)),
        **({} if deadline is None else {"start_deadline": deadline}),
        "systemd": spec,
        "policy": _unit_policy(policy, manifest.policy, spec),
    }


def _unit_policy(policy: Policy, table: PolicyTable, spec: SystemdSpec) -> Policy:
    """The promises of a unit: KillSignal= is its stop signal, TimeoutStopSec= its grace period unless infinite."""
    change = table.systemd
    name = spec.kill_signal
    codes = (change and change.exit_codes) or table.exit_codes.get(name)
    second = (change and change.second_signal) or table.second_signal.get(name, "ignored")
    return replace(
        policy,
        grace_period=policy.grace_period if math.isinf(spec.timeout_stop) else spec.timeout_stop,
        settle_time=policy.settle_time if change is None else change.settle_time,
        stop_signals=(name,),
        exit_codes={} if codes is None else {name: codes},
        second_signal={name: cast("SecondSignal", second)},
    )


def _common(manifest: Manifest, file: Path, mode: LaunchMode) -> Target:
    """What holds in every launch mode."""
    table = manifest.policy.in_mode(mode)
    pod = read_pod(
        kubernetes=manifest.kubernetes,
        pod=manifest.pod,
        folder=file.parent,
        ports=manifest.inside_ports,
        policy_grace_period=table.grace_period,
    )
    return Target(
        name=manifest.name or _default_name(file),
        launch=mode,
        folder=file.parent,
        manifest=file,
        command=(),
        working_directory=file.parent,
        ports=manifest.ports,
        readiness=manifest.health.readiness,
        liveness=manifest.health.liveness,
        requests=tuple(_request(each, name=request_name(each), folder=file.parent) for each in manifest.request),
        policy=_policy(table, pod),
        pod=pod,
        load_failure=_load_failure(manifest.provoke.load_failure),
        worker_failure=_load_failure(manifest.provoke.worker_failure),
        fatal=_fatal(manifest.provoke.fatal, file.parent),
        fail_points=manifest.fail_points.model_dump(exclude_none=True, exclude={"own"}),
        own_fail_points=tuple(_own_fail_point(each) for each in manifest.fail_points.own),
        windows=_windows(manifest.windows, file.parent),
        workers_are=_workers(manifest.workers),
        secrets=Secrets(names=tuple(manifest.secrets.names), harmless=tuple(manifest.secrets.harmless)),
    )


def _default_name(file: Path) -> str:
    """The folder's name; the file's own for one of several manifests in a folder."""
    return (file.parent.name or "target") if file.name in (FILE, PYPROJECT) else file.stem


def _request(table: RequestTable, *, name: str, folder: Path) -> Request:
    if table.is_grpc:
        return _grpc_request(table, name=name, folder=folder)
    headers = dict(table.headers)
    body = table.body or ""
    if table.has_json:
        body = json.dumps(table.json_value)
        if not any(header.lower() == "content-type" for header in headers):
            headers["content-type"] = "application/json"
    expect = Expectation(
        status=tuple(int(each) for each in table.expect.status or (200,)),
        contains=table.expect.contains,
        json=table.expect.json_value,
    )
    return Request(
        name=name,
        method=request_method(table),
        path=request_path(table),
        headers=headers,
        body=body,
        expect=expect,
        duration=table.duration,
        safe_to_repeat=table.safe_to_repeat,
        stream=table.stream,
    )


def _grpc_request(table: RequestTable, *, name: str, folder: Path) -> Request:
    expect = Expectation(
        status=tuple(GRPC_CODES.index(str(each)) for each in table.expect.status or ("OK",)),
        contains=table.expect.contains,
        messages=table.expect.messages,
    )
    return Request(
        name=name,
        method=request_method(table),
        path=request_path(table),
        headers=dict(table.headers),
        body=message_text(table, folder),
        expect=expect,
        duration=table.duration,
        safe_to_repeat=table.safe_to_repeat,
        protocol="grpc",
        port=request_port(table),
        stream=table.stream,
    )


def _own_fail_point(table: OwnFailPointTable) -> OwnFailPoint:
    return OwnFailPoint(
        name=table.name,
        site=table.at,
        exception=table.raises,
        shots=table.shots,
        call=table.call,
        later=table.later,
        probability=table.probability,
    )


def _windows(table: Windows, folder: Path) -> WindowsView:
    folders = tuple((folder / each).resolve() for each in table.folders)
    return WindowsView(packages=tuple(table.packages), folders=folders, says_limited=table.says_limited)


def _policy(table: PolicyTable, pod: Pod | None) -> Policy:
    of_pod = Policy.grace_period if pod is None else pod.grace_period
    return Policy(
        grace_period=of_pod if table.grace_period is None else table.grace_period,
        settle_time=table.settle_time,
        stop_signals=tuple(table.stop_signals),
        exit_codes=table.exit_codes,
        second_signal=cast("dict[str, SecondSignal]", table.second_signal),
        startup_failure=cast("StartupFailure", table.startup_failure),
        streams=cast("Streams", table.streams),
        restart=Restart(**table.restart.model_dump()),
    )


def _workers(table: WorkersTable) -> Workers:
    describe = None if table.describe is None else Describe(**table.describe.model_dump())
    return Workers(command=table.command, pid=table.pid, executed=table.executed, describe=describe)


def _load_failure(table: LoadFailure | None) -> Provocation | None:
    if table is None:
        return None
    return Provocation(environment=table.env, arguments=tuple(table.args), names_cause=table.names_cause)


def _fatal(table: Fatal | None, folder: Path) -> FatalError | None:
    if table is None:
        return None
    return FatalError(
        request=_request(table, name=fatal_name(table), folder=folder),
        environment=table.env,
        arguments=tuple(table.args),
    )
