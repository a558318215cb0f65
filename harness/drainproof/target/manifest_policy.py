"""`[policy]`: what the target promises, and what it promises otherwise in one launch mode."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from drainproof.target.manifest_section import Found, Section, complain, no_repeats
from drainproof.target.manifest_values import (
    Delay,
    ExitCodes,
    ExitSignalName,
    Restarts,
    ScheduleName,
    Seconds,
    SecondSignal,
    Share,
    SignalName,
    StartupFailure,
    Streams,
)
from drainproof.target.modes import MODES, LaunchMode
from drainproof.target.windows import BREAK


class PolicyChange(Section):
    """`[policy.container]` and the like: what the target promises in one launch mode, where that is something else."""

    grace_period: Seconds = 30.0
    settle_time: Seconds = 3.0
    stop_signals: Annotated[list[SignalName], AfterValidator(no_repeats)] = []
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
    stop_signals: Annotated[list[SignalName], AfterValidator(no_repeats)] = ["SIGTERM", "SIGINT"]
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
