"""Reads what a Kubernetes manifest says of one container: Deployment, StatefulSet, Pod, or KServe's InferenceService.

The keys that matter here are checked as Kubernetes checks them, and every mistake is told with its file, object and
key. Keys that say nothing about how a container starts and ends are left alone, and so are values that only a cluster
knows (Secrets, ConfigMaps, fields of the pod): these are named in `Workload.unknown_env`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drainproof.errors import ManifestError
from drainproof.nearest import did_you_mean, nearest
from drainproof.target.mistakes import Location, Mistake, dotted, report, show
from drainproof.target.pod import (
    GRACE_PERIOD,
    READINESS_FAILURES,
    READINESS_PERIOD,
    READINESS_SUCCESSES,
    ExecHook,
    HttpGetHook,
    SleepHook,
)

POD_SPECS: dict[str, Location] = {
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "Pod": ("spec",),
    "InferenceService": ("spec", "predictor"),
}
"""Where the specification of the pod is in each kind of object."""

KSERVE_CONTAINER = "kserve-container"
"""What KServe calls the container that it makes of `spec.predictor.model`."""

GRACE = "terminationGracePeriodSeconds"
HANDLERS = ("exec", "httpGet", "sleep")
LONGEST = 86_400

_NOTHING: Any = object()


@dataclass(frozen=True, kw_only=True)
class PortHook:
    """An `httpGet` hook whose port is still the container's, by number or name."""

    path: str
    port: int | str
    headers: Mapping[str, str] = field(default_factory=dict)

    def to(self, port: str) -> HttpGetHook:
        """The hook with the port by its name in drainproof's manifest."""
        return HttpGetHook(path=self.path, port=port, headers=self.headers)


@dataclass(frozen=True, kw_only=True)
class ReadinessProbe:
    """`readinessProbe`."""

    path: str | None
    """None where the probe is no GET request."""
    port: int | str | None
    period: float = READINESS_PERIOD
    failures: int = READINESS_FAILURES
    successes: int = READINESS_SUCCESSES


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One container of one object, as its manifest has it. Durations are seconds."""

    file: Path
    kind: str
    name: str
    container: str
    image: str | None
    """None where something else chooses it, as KServe's serving runtimes do."""
    command: tuple[str, ...] = ()
    """Takes the place of the image's ENTRYPOINT."""
    args: tuple[str, ...] = ()
    """Takes the place of the image's CMD."""
    env: Mapping[str, str] = field(default_factory=dict)
    unknown_env: tuple[str, ...] = ()
    """Variables, and sources of variables, whose values only the cluster knows."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """`containerPort` by name, or by its number where it has none."""
    grace_period: float = GRACE_PERIOD
    says_grace_period: bool = False
    """Whether `terminationGracePeriodSeconds` is given; else it is Kubernetes' default."""
    pre_stop: ExecHook | SleepHook | PortHook | None = None
    readiness: ReadinessProbe | None = None

    @property
    def title(self) -> str:
        """How it is called in reports."""
        return f'{self.file.name} ({self.kind} "{self.name}")'


def read_workload(
    file: Path, *, kind: str | None = None, name: str | None = None, container: str | None = None
) -> Workload:
    """Reads the object of `kind` and `name` from `file`, and in it `container`.

    Each of the three may be left out where there is no choice. Raises ManifestError, with every mistake.
    """
    objects = [each for each in _documents(file) if each.get("kind") in POD_SPECS]
    found = _choose(objects, file=file, kind=kind, name=name)
    reader = _Reader(file=file, document=found)
    workload = _workload(reader, container)
    reader.complain()
    assert workload is not None, "what could not be read has been complained about"
    return workload


# ---- finding the object


def _documents(file: Path) -> list[Mapping[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(f"{file}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file}: not UTF-8") from error
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror or error}") from error
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        hint = ". A template has to be rendered first: helm template …, kustomize build …" if "{{" in text else ""
        raise ManifestError(f"{file}{where}: not valid YAML: {what}{hint}") from error
    except (RecursionError, ValueError) as error:  # a date that is none is a ValueError
        raise ManifestError(f"{file}: cannot be read as YAML: {error}") from error
    return [each for each in documents if isinstance(each, Mapping)]


def _choose(
    objects: Sequence[Mapping[str, Any]], *, file: Path, kind: str | None, name: str | None
) -> Mapping[str, Any]:
    kinds = ", ".join(POD_SPECS)
    if not objects:
        raise ManifestError(f"{file}: no object in it runs a container for long; expected one of {kinds}")
    chosen = [each for each in objects if kind in (None, each["kind"]) and name in (None, _name_of(each))]
    there = ", ".join(f'{each["kind"]} "{_name_of(each)}"' for each in objects)
    if not chosen:
        wanted = " ".join([*([kind] if kind else ["an object"]), *([f'"{name}"'] if name else [])])
        hint = did_you_mean(name, [_name_of(each) for each in objects]) if name else ""
        raise ManifestError(f"{file}: there is no {wanted} in it.{hint} There is {there}")
    if len(chosen) > 1:
        raise ManifestError(
            f"{file}: several objects run containers: {there}. Say which one, with kind and name in [kubernetes]"
        )
    return chosen[0]


def _name_of(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, Mapping) else ""


# ---- reading it


class _Reader:
    """Looks values up in one object, and collects what is wrong with them."""

    def __init__(self, *, file: Path, document: Mapping[str, Any]) -> None:
        self.file = file
        self.document = document
        self.kind = str(document["kind"])
        self.name = _name_of(document)
        self._mistakes: list[Mistake] = []

    def complain(self) -> None:
        """Raises ManifestError if anything was wrong."""
        if self._mistakes:
            raise ManifestError(report(self._mistakes, file=f'{self.file} ({self.kind} "{self.name}")'))

    def wrong(self, place: Location, text: str) -> None:
        """Notes a mistake."""
        value = self.at(place)
        shown = None if value is _NOTHING else show(value)
        self._mistakes.append(Mistake(key=dotted(place), value=shown, text=text))

    def at(self, place: Location) -> Any:
        """The value at `place`; `_NOTHING` where there is none, or null."""
        here: Any = self.document
        for part in place:
            if isinstance(part, int):
                here = here[part] if isinstance(here, list) and part < len(here) else None
            else:
                here = here.get(part) if isinstance(here, Mapping) else None
        return _NOTHING if here is None else here

    def table(self, place: Location, what: str = "a mapping") -> Mapping[str, Any]:
        """The mapping at `place`; an empty one where there is none."""
        value = self.at(place)
        if value is _NOTHING:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(place, f"expected {what}")
            return {}
        return value

    def sequence(self, place: Location) -> list[Any]:
        """The list at `place`; an empty one where there is none."""
        value = self.at(place)
        if value is _NOTHING:
            return []
        if not isinstance(value, list):
            self.wrong(place, "expected a list")
            return []
        return value

    def words(self, place: Location) -> tuple[str, ...]:
        """A list of strings."""
        value = self.sequence(place)
        for index, each in enumerate(value):
            if not isinstance(each, str):
                self.wrong((*place, index), f'expected a string (in quotes: "{each}")')
        return tuple(str(each) for each in value)

    def whole(self, place: Location, default: int, *, least: int, why: str = "") -> int:
        """A whole number, `least` or more."""
        value = self.at(place)
        if value is _NOTHING:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LONGEST:
            self.wrong(place, f"expected a whole number, {least} or more{why}")
            return default
        return value

    def text(self, place: Location) -> str | None:
        """A string, or None where there is none."""
        value = self.at(place)
        if value is not _NOTHING and not isinstance(value, str):
            self.wrong(place, "expected a string")
        return value if isinstance(value, str) else None

    def keys(self, place: Location, known: Sequence[str]) -> None:
        """Complains about keys that Kubernetes does not have there: a misspelt one would say nothing."""
        for key in self.table(place):
            if key not in known:
                self.wrong((*place, key), f"unknown key.{did_you_mean(str(key), known)} Valid here: {', '.join(known)}")

    def misspelt(self, place: Location, *known: str) -> None:
        """Complains about a key that is nearly one of `known`, where those are not all that there may be."""
        table = self.table(place)
        for key in table:
            close = None if key in known else nearest(str(key), known)
            if close is not None and close not in table:
                self.wrong((*place, key), f"unknown key. Did you mean {close}?")


def _workload(reader: _Reader, wanted: str | None) -> Workload | None:
    pod = POD_SPECS[reader.kind]
    if not reader.table(pod):
        reader.wrong(pod, "expected the specification of a pod, with its containers")
        return None
    reader.misspelt(pod, GRACE, "containers")
    place = _container(reader, pod, wanted)
    if place is None:
        return None
    if reader.at((*place, GRACE)) is not _NOTHING:
        reader.wrong((*place, GRACE), f"it belongs to the pod, beside its containers: {dotted((*pod, GRACE))}")
    reader.misspelt(place, "lifecycle", "readinessProbe")
    env, unknown = _environment(reader, place)
    why = ": with 0 the pod is killed at once, and nothing can be drained"
    return Workload(
        file=reader.file,
        kind=reader.kind,
        name=reader.name,
        container=_container_name(reader, place),
        image=reader.text((*place, "image")),
        command=reader.words((*place, "command")),
        args=reader.words((*place, "args")),
        env=env,
        unknown_env=unknown,
        ports=_ports(reader, place),
        grace_period=float(reader.whole((*pod, GRACE), int(GRACE_PERIOD), least=1, why=why)),
        says_grace_period=reader.at((*pod, GRACE)) is not _NOTHING,
        pre_stop=_pre_stop(reader, (*place, "lifecycle")),
        readiness=_readiness(reader, (*place, "readinessProbe")),
    )


def _container(reader: _Reader, pod: Location, wanted: str | None) -> Location | None:
    """Where the container is that is meant."""
    places: list[Location] = [(*pod, "containers", i) for i, _ in enumerate(reader.sequence((*pod, "containers")))]
    if reader.kind == "InferenceService" and reader.at((*pod, "model")) is not _NOTHING:
        places.insert(0, (*pod, "model"))
    if not places:
        also = " (or model)" if reader.kind == "InferenceService" else ""
        reader.wrong((*pod, "containers"), f"expected at least one container{also}")
        return None
    names = [_container_name(reader, place) for place in places]
    if wanted is None and reader.kind == "InferenceService" and KSERVE_CONTAINER in names:
        return places[names.index(KSERVE_CONTAINER)]
    if wanted is None and len(places) == 1:
        return places[0]
    if wanted in names:
        return places[names.index(wanted)]
    told = f"the containers are {', '.join(names)}"
    if wanted is None:
        told += "; say which one is the server, with container in [kubernetes]"
    else:
        told = f'there is no container "{wanted}".{did_you_mean(wanted, names)} ' + told[0].upper() + told[1:]
    reader.wrong((*pod, "containers"), told)
    return None


def _container_name(reader: _Reader, place: Location) -> str:
    default = KSERVE_CONTAINER if place[-1] == "model" else ""
    return reader.text((*place, "name")) or default


def _environment(reader: _Reader, place: Location) -> tuple[dict[str, str], tuple[str, ...]]:
    known: dict[str, str] = {}
    unknown: list[str] = []
    for index, _ in enumerate(reader.sequence((*place, "env"))):
        here: Location = (*place, "env", index)
        name = reader.text((*here, "name"))
        if name is None:
            reader.wrong(here, "expected a variable with name and value")
        elif reader.at((*here, "valueFrom")) is not _NOTHING:
            unknown.append(name)
        else:
            value = reader.at((*here, "value"))
            if value is not _NOTHING and not isinstance(value, str):
                reader.wrong((*here, "value"), f'expected a string (in quotes: "{value}")')
            known[name] = "" if value is _NOTHING else str(value)
    for index, _ in enumerate(reader.sequence((*place, "envFrom"))):
        for source in ("configMapRef", "secretRef"):
            if (name := reader.text((*place, "envFrom", index, source, "name"))) is not None:
                unknown.append(f"all of {source.removesuffix('Ref')} {name}")
    return known, tuple(unknown)


def _ports(reader: _Reader, place: Location) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, _ in enumerate(reader.sequence((*place, "ports"))):
        here: Location = (*place, "ports", index)
        number = reader.at((*here, "containerPort"))
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 65536:
            reader.wrong((*here, "containerPort"), "expected the number of a port, from 1 to 65535")
        else:
            found[reader.text((*here, "name")) or str(number)] = number
    return found


def _pre_stop(reader: _Reader, place: Location) -> ExecHook | SleepHook | PortHook | None:
    reader.keys(place, ("postStart", "preStop", "stopSignal"))
    place = (*place, "preStop")
    table = reader.table(place, f"a hook: a mapping with one of {', '.join(HANDLERS)}")
    if not table:
        if reader.at(place) == {}:
            reader.wrong(place, f"expected one of {', '.join(HANDLERS)} in it")
        return None
    if "tcpSocket" in table:
        reader.wrong((*place, "tcpSocket"), "Kubernetes accepts it and does nothing; expected exec, httpGet or sleep")
        return None
    reader.keys(place, HANDLERS)
    given = [each for each in HANDLERS if each in table]
    if len(given) != 1:
        if given:
            reader.wrong(place, f"expected one of {', '.join(HANDLERS)}, not {' and '.join(given)}")
        return None
    here: Location = (*place, given[0])
    if given == ["exec"]:
        reader.keys(here, ("command",))
        command = reader.words((*here, "command"))
        if not command:
            reader.wrong((*here, "command"), 'expected a command, such as ["sleep", "5"]')
        return ExecHook(command=command)
    if given == ["sleep"]:
        reader.keys(here, ("seconds",))
        if reader.at((*here, "seconds")) is _NOTHING:
            reader.wrong((*here, "seconds"), "expected whole seconds, such as 5")
        return SleepHook(seconds=float(reader.whole((*here, "seconds"), 0, least=0)))
    return _http_get(reader, here)


def _http_get(reader: _Reader, place: Location) -> PortHook | None:
    reader.keys(place, ("path", "port", "scheme", "host", "httpHeaders"))
    if reader.at((*place, "scheme")) not in (_NOTHING, "HTTP"):
        reader.wrong((*place, "scheme"), "drainproof speaks HTTP without TLS to its targets")
    if reader.at((*place, "host")) is not _NOTHING:
        reader.wrong((*place, "host"), "the hook would go to another host; drainproof can only ask the pod itself")
    headers = {}
    for index, _ in enumerate(reader.sequence((*place, "httpHeaders"))):
        name, value = (reader.text((*place, "httpHeaders", index, key)) for key in ("name", "value"))
        if name is None or value is None:
            reader.wrong((*place, "httpHeaders", index), "expected a header with name and value")
        else:
            headers[name] = value
    port = _port(reader, (*place, "port"))
    path = reader.text((*place, "path")) or "/"
    return None if port is None else PortHook(path="/" + path.lstrip("/"), port=port, headers=headers)


def _port(reader: _Reader, place: Location) -> int | str | None:
    value = reader.at(place)
    if isinstance(value, str) and value and not value.isdigit():
        return value
    if not isinstance(value, bool) and isinstance(value, (int, str)) and str(value).isdigit():
        return int(value)
    reader.wrong(place, "expected a port of the container, by number or name")
    return None


def _readiness(reader: _Reader, place: Location) -> ReadinessProbe | None:
    if not reader.table(place):
        return None
    reader.misspelt(place, "periodSeconds", "failureThreshold", "successThreshold", "httpGet")
    path = port = None
    if reader.table((*place, "httpGet")):
        path = reader.text((*place, "httpGet", "path")) or "/"
        port = _port(reader, (*place, "httpGet", "port"))
    return ReadinessProbe(
        path=path,
        port=port,
        period=float(reader.whole((*place, "periodSeconds"), int(READINESS_PERIOD), least=1)),
        failures=reader.whole((*place, "failureThreshold"), READINESS_FAILURES, least=1),
        successes=reader.whole((*place, "successThreshold"), READINESS_SUCCESSES, least=1),
    )


def port_name(workload: Workload, port: int | str, *, ports: Mapping[str, int | None]) -> str | None:
    """Which of the target's `ports` (by name, with their numbers inside a container) a port of the container is.

    The one of the same number or name; else "http" where that can only be it: the container has no other port, or its
    readiness is asked there. None where it cannot be told.
    """
    same = [(name, number) for name, number in workload.ports.items() if port in (name, number)]
    meant = {port, *(each for pair in same for each in pair)}
    for name, number in ports.items():
        if number in meant or name in meant:
            return name
    if len(workload.ports) <= 1:
        return "http"
    return "http" if workload.readiness is not None and workload.readiness.port in meant else None
