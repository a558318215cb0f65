"""The pod that a target runs in, as far as its end depends on it: resolved and immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

GRACE_PERIOD = 30.0
"""Seconds; what Kubernetes takes where `terminationGracePeriodSeconds` is not given."""

READINESS_PERIOD, READINESS_FAILURES, READINESS_SUCCESSES = 10.0, 3, 1
"""Kubernetes' defaults for `periodSeconds`, `failureThreshold` and `successThreshold` of a readiness probe."""


@dataclass(frozen=True, kw_only=True)
class ExecHook:
    """A command that runs inside the container. It has failed where its exit status is not 0."""

    kind: ClassVar[str] = "exec"
    command: tuple[str, ...]

    def __str__(self) -> str:
        return f"exec {' '.join(self.command)}"


@dataclass(frozen=True, kw_only=True)
class SleepHook:
    """A pause. The kubelet makes it; nothing runs inside the container."""

    kind: ClassVar[str] = "sleep"
    seconds: float

    def __str__(self) -> str:
        return f"sleep {self.seconds:g} s"


@dataclass(frozen=True, kw_only=True)
class HttpGetHook:
    """A GET request to the target. It has failed where no answer comes; which one it is does not matter."""

    kind: ClassVar[str] = "http_get"
    path: str
    port: str = "http"
    """The port's name in the manifest."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"GET {self.path} ({self.port})"


Hook = ExecHook | SleepHook | HttpGetHook

_HOOKS: dict[str, type[Hook]] = {cls.kind: cls for cls in (ExecHook, SleepHook, HttpGetHook)}


def hook_to_json(hook: Hook) -> dict[str, Any]:
    """A hook as JSON values; the inverse of `hook_from_json`."""
    return {"kind": hook.kind, **asdict(hook)}


def hook_from_json(value: Mapping[str, Any]) -> Hook:
    """Reads what `hook_to_json` wrote."""
    given: dict[str, Any] = {k: tuple(v) if k == "command" else v for k, v in value.items() if k != "kind"}
    return _HOOKS[value["kind"]](**given)


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What the kubelet and the endpoint controller need to know to end a pod."""

    grace_period: float = GRACE_PERIOD
    """Seconds from the deletion to SIGKILL (`terminationGracePeriodSeconds`); the hook's time counts."""
    pre_stop: Hook | None = None
    readiness_period: float = READINESS_PERIOD
    """Seconds from one readiness probe to the next."""
    readiness_failures: int = READINESS_FAILURES
    """Probes in a row that must fail for the pod to be taken out of its service while it is not being deleted."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each of these values was said: "[pod]", a Kubernetes manifest by its name, "[policy]", or "default".
    `policy.grace_period` among them says the same of the policy's own."""

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {**asdict(self), "pre_stop": None if self.pre_stop is None else hook_to_json(self.pre_stop)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Pod:
        """Reads what `to_json` wrote."""
        hook = value["pre_stop"]
        return cls(**{**value, "pre_stop": None if hook is None else hook_from_json(hook)})
