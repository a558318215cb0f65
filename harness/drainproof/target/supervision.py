"""What a target promises of its workers, and how they are recognised: `[policy.restart]` and `[workers]` resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any, Literal

MANY = 10_000
"""Attempts that are looked at to find where a limit in seconds lies."""

Schedule = Literal["doubling", "fibonacci", "constant"]
"""How the delays before the attempts at a restart grow: each twice the one before; 1, 1, 2, 3, 5, 8 times the first
delay; always the same."""


@dataclass(frozen=True, kw_only=True)
class Restart:
    """What becomes of a worker that has died. Times are seconds."""

    schedule: Schedule | tuple[float, ...] | None = None
    """The delays between a failure and the next attempt; a tuple names them, its last one goes on. None: no promise."""
    first_delay: float = 1.0
    longest_delay: float | None = None
    """Delays grow to this and no further."""
    max_restarts: int | None = None
    """So many attempts follow the first failure, if none of them succeeds; 0: none. None: no promise."""
    max_seconds: float | None = None
    """A failure that comes later than so long after the first one is followed by no attempt. None: no promise.

    So the last attempt may begin later than that, by the delay before it. The rule is TorchServe's: the limit is looked
    at when a worker has failed.
    """
    tolerance: float = 0.25
    """The share of a delay by which an attempt may come earlier or later (jitter)."""
    recovery: float | None = None
    """Within so long after a worker's death it is replaced and a real request succeeds; None: see `recovers_within`."""
    answer_within: float = 10.0
    """How long a client waits while workers are down, beyond the duration of its request; then it has *no answer*."""
    observe: float = 60.0
    """How long attempts at a restart are watched at most."""

    def delays(self, count: int) -> list[float]:
        """The first `count` delays of the schedule; empty where none is declared."""
        found: list[float] = []
        before, this = 0.0, self.first_delay
        for index in range(count):
            if self.schedule is None:
                break
            if isinstance(self.schedule, tuple):
                this = self.schedule[min(index, len(self.schedule) - 1)]
            found.append(this if self.longest_delay is None else min(this, self.longest_delay))
            if self.schedule == "doubling":
                this = 2 * this
            elif self.schedule == "fibonacci":
                before, this = this, before + this
        return found

    @property
    def name(self) -> str:
        """The schedule in words."""
        if self.schedule is None:
            return "no declared schedule"
        if isinstance(self.schedule, tuple):
            return f"the declared list of {', '.join(f'{delay:g}' for delay in self.schedule)} s"
        return f"{self.schedule} from {self.first_delay:g} s"

    @property
    def limited(self) -> bool:
        """Whether there is an end to the attempts."""
        return self.max_restarts is not None or self.max_seconds is not None

    def most_attempts(self) -> int | None:
        """How many attempts may follow a first failure; None where that is not bounded, or not by the schedule.

        By a limit in seconds they are most if each fails in the moment in which it begins.
        """
        bounds = [] if self.max_restarts is None else [self.max_restarts]
        if self.max_seconds is not None and self.schedule is not None:
            spent = accumulate(self.delays(MANY))
            bounds += [index + 1 for index, total in enumerate(spent) if total > self.max_seconds][:1]
        return min(bounds, default=None)

    def recovers_within(self, start_deadline: float) -> float:
        """The declared time to recovery: by default the first delay and a whole start."""
        if self.recovery is not None:
            return self.recovery
        return (self.delays(1) or [0.0])[0] + start_deadline

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {**asdict(self), "schedule": list(self.schedule) if isinstance(self.schedule, tuple) else self.schedule}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Restart:
        """Reads what `to_json` wrote."""
        schedule = value["schedule"]
        return cls(**{**value, "schedule": tuple(schedule) if isinstance(schedule, list) else schedule})


@dataclass(frozen=True, kw_only=True)
class Describe:
    """Where the target tells of its workers."""

    path: str
    port: str = "http"
    """The name of the port."""
    settings: str | None = None
    """A JMESPath expression for the retry setting in the answer."""
    expect: Any = None
    """The value that the setting has; None: any but null."""
    workers: str | None = None
    """A JMESPath expression for what the answer says of the workers' states."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the workers of the target are recognised, and what it tells of them."""

    command: str | None = None
    """A regular expression for their command line."""
    pid: str | None = None
    """A JMESPath expression for the worker's pid in the answer to the fast request."""
    executed: str | None = None
    """A regular expression for the line that a worker prints for each request that it works on; its group `token` is
    the request's token."""
    describe: Describe | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Workers:
        """Reads what `to_json` wrote."""
        describe = value["describe"]
        return cls(**{**value, "describe": None if describe is None else Describe(**describe)})
