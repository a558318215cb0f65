"""The sections `[kubernetes]` and `[pod]`: how the pod of the target ends.

Both say the same things. What is written in `[pod]` is meant for tests, so it wins over what the Kubernetes manifest
says; where neither says a grace period, the policy's is taken. And the other way round: a policy without a grace
period of its own takes the pod's, because it is what the cluster will give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, model_validator

from drainproof.errors import ManifestError
from drainproof.target.kubernetes import POD_SPECS, PortHook, Workload, port_name, read_workload
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_values import (
    LONGEST,
    Argument,
    Arguments,
    Count,
    Headers,
    Name,
    PortName,
    Seconds,
    UrlPath,
    one_of,
)
from drainproof.target.mistakes import Mistake, report, wrong
from drainproof.target.pod import (
    GRACE_PERIOD,
    READINESS_FAILURES,
    READINESS_PERIOD,
    ExecHook,
    Hook,
    HttpGetHook,
    Pod,
    SleepHook,
)


def _pause(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST:
        raise wrong(f"expected seconds: a number, 0 or more, and at most {LONGEST}")
    return float(value)


class KubernetesTable(Section):
    """`[kubernetes]`: a manifest for the cluster that says how the target is run there."""

    manifest: Argument = Field(description='the Kubernetes manifest, such as "deployment.yaml"')
    kind: Annotated[str | None, PlainValidator(one_of(*POD_SPECS))] = None
    name: Name | None = None
    container: Name | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> KubernetesTable:
        folder: Path = info.context["folder"] if info.context else Path()
        if not (folder / self.manifest).is_file():
            complain([(("manifest",), f"there is no such file in {folder}")])
        return self


class HttpGetTable(Section):
    """`pre_stop.http_get`: a GET request to the target."""

    path: UrlPath = Field(description='the path of the request, such as "/quit"')
    port: PortName = "http"
    headers: Headers = {}


class PreStopTable(Section):
    """`pre_stop`: what happens before the stop signal. Exactly one of its keys."""

    exec: Arguments | None = None
    sleep: Annotated[float | None, PlainValidator(_pause)] = None
    http_get: HttpGetTable | None = None

    @model_validator(mode="after")
    def _check(self) -> PreStopTable:
        given = [name for name in ("exec", "sleep", "http_get") if getattr(self, name) is not None]
        if len(given) != 1:
            raise wrong("expected one of exec, sleep and http_get" + (f", not {' and '.join(given)}" if given else ""))
        if self.exec is not None and not (self.exec and self.exec[0]):
            complain([(("exec",), 'expected a command, such as ["sleep", "5"]')])
        return self

    @property
    def hook(self) -> Hook:
        """The hook that it declares."""
        if self.exec is not None:
            return ExecHook(command=tuple(self.exec))
        if self.sleep is not None:
            return SleepHook(seconds=self.sleep)
        assert self.http_get is not None
        return HttpGetHook(path=self.http_get.path, port=self.http_get.port, headers=dict(self.http_get.headers))


class PodTable(Section):
    """`[pod]`: the same facts without a Kubernetes manifest, or instead of what it says."""

    grace_period: Seconds | None = None
    pre_stop: PreStopTable | None = None
    readiness_period: Seconds | None = None
    readiness_failures: Count | None = None


def pod_mistakes(pod: PodTable | None, ports: Sequence[str]) -> Found:
    """What in `[pod]` does not fit the rest of the manifest. `ports`: those that are declared."""
    http_get = None if pod is None or pod.pre_stop is None else pod.pre_stop.http_get
    if http_get is None or http_get.port in ports:
        return []
    return [(("pod", "pre_stop", "http_get", "port"), f"there is no such port; expected one of {', '.join(ports)}")]


def read_pod(
    *,
    kubernetes: KubernetesTable | None,
    pod: PodTable | None,
    folder: Path,
    ports: Mapping[str, int | None],
    policy_grace_period: float | None,
) -> Pod | None:
    """The pod that a manifest declares; None where it has neither section.

    `ports`: those of the target, by name, with their numbers inside a container. `policy_grace_period`: None where
    `[policy]` says none. Raises ManifestError for what is wrong in the Kubernetes manifest.
    """
    if kubernetes is None and pod is None:
        return None
    workload = None
    if kubernetes is not None:
        workload = read_workload(
            folder / kubernetes.manifest, kind=kubernetes.kind, name=kubernetes.name, container=kubernetes.container
        )
    said = _said_in_table(pod or PodTable())
    if workload is not None:
        said = {**_said_in_workload(workload, ports, skip=said), **said}
    if "grace_period" not in said and policy_grace_period is not None:
        said["grace_period"] = (policy_grace_period, "[policy]")
    defaults = {
        "grace_period": GRACE_PERIOD,
        "pre_stop": None,
        "readiness_period": READINESS_PERIOD,
        "readiness_failures": READINESS_FAILURES,
    }
    values = {name: said.get(name, (default, "default")) for name, default in defaults.items()}
    sources = {name: source for name, (_, source) in values.items()}
    sources["policy.grace_period"] = "[policy]" if policy_grace_period is not None else sources["grace_period"]
    chosen: dict[str, Any] = {name: value for name, (value, _) in values.items()}
    return Pod(**chosen, sources=sources)


def _said_in_table(pod: PodTable) -> dict[str, tuple[Any, str]]:
    given = {
        "grace_period": pod.grace_period,
        "pre_stop": None if pod.pre_stop is None else pod.pre_stop.hook,
        "readiness_period": pod.readiness_period,
        "readiness_failures": pod.readiness_failures,
    }
    return {name: (value, "[pod]") for name, value in given.items() if value is not None}


def _said_in_workload(
    workload: Workload, ports: Mapping[str, int | None], *, skip: Mapping[str, object]
) -> dict[str, tuple[Any, str]]:
    given: dict[str, Any] = {}
    if workload.says_grace_period:
        given["grace_period"] = workload.grace_period
    if workload.pre_stop is not None and "pre_stop" not in skip:
        given["pre_stop"] = _with_port(workload, workload.pre_stop, ports)
    if workload.readiness is not None:
        given["readiness_period"] = workload.readiness.period
        given["readiness_failures"] = workload.readiness.failures
    return {name: (value, workload.title) for name, value in given.items()}


def _with_port(workload: Workload, hook: ExecHook | SleepHook | PortHook, ports: Mapping[str, int | None]) -> Hook:
    if not isinstance(hook, PortHook):
        return hook
    name = port_name(workload, hook.port, ports=ports)
    if name is None:
        text = (
            f"it cannot be told which of the ports {', '.join(ports)} of drainproof.toml this is: "
            "name the containerPort alike, or say it there: [pod] pre_stop = { http_get = { path = …, port = … } }"
        )
        mistake = Mistake(key="lifecycle.preStop.httpGet.port", value=str(hook.port), text=text)
        raise ManifestError(report([mistake], file=f'{workload.file} ({workload.kind} "{workload.name}")'))
    return hook.to(name)
