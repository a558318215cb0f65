"""`[systemd]`: how the target is stopped as a systemd unit, and what its unit file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainValidator, ValidationInfo, model_validator

from drainproof.target import placeholders
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_values import (
    Argument,
    Arguments,
    PortName,
    Seconds,
    SignalName,
    Truth,
    Variables,
    WorkerCounts,
    one_of,
)
from drainproof.target.mistakes import wrong
from drainproof.target.systemd_spec import KILL_MODES, RESTARTS, SystemdSpec
from drainproof.target.unit_file import Unit, UnitFileError, read_unit, signal_name, time_span


def _span(value: Any) -> float:
    seconds = time_span(value) if isinstance(value, str) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not seconds > 0:
        raise wrong('expected seconds: a number greater than 0, a time span such as "1min 30s", or "infinity"')
    return seconds


def _final_signal(value: Any) -> str:
    name = signal_name(value) if isinstance(value, str) else None
    if name is None:
        raise wrong('expected the name of a signal, such as "SIGKILL"')
    return name


def _statuses(value: Any) -> tuple[int | str, ...]:
    found: list[int | str] = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, int) and not isinstance(each, bool) and 0 <= each <= 255:
            found.append(each)
        elif isinstance(each, str) and not each.isdigit() and (name := signal_name(each)) is not None:
            found.append(name)
        else:
            raise wrong('expected exit statuses from 0 to 255 and names of signals, such as [143, "SIGUSR1"]')
    return tuple(found)


def _no_repeats(values: list[str]) -> list[str]:
    complain([((i,), "named twice") for i, value in enumerate(values) if value in values[:i]])
    return values


class SystemdTable(Section):
    """`[systemd]`. The validation context `folder` is the manifest's folder."""

    unit: Argument | None = None
    command: Arguments = []
    cwd: Argument | None = None
    env: Variables = {}
    ports: Annotated[list[PortName], AfterValidator(_no_repeats)] | None = None
    workers: WorkerCounts | None = None
    deadline: Seconds | None = None
    kill_mode: Annotated[str, PlainValidator(one_of(*KILL_MODES))] | None = None
    kill_signal: SignalName | None = None
    final_kill_signal: Annotated[str, PlainValidator(_final_signal)] | None = None
    send_sigkill: Truth | None = None
    timeout_stop: Annotated[float, PlainValidator(_span)] | None = None
    restart: Annotated[str, PlainValidator(one_of(*RESTARTS))] | None = None
    success_exit_status: Annotated[tuple[int | str, ...], PlainValidator(_statuses)] | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> SystemdTable:
        folder: Path = info.context["folder"] if info.context else Path()
        if self.unit is None:
            return self
        try:
            read_unit(folder / self.unit)
        except OSError as error:
            complain([(("unit",), f"{folder / self.unit} cannot be read: {error.strerror}")])
        except UnitFileError as error:
            complain([(("unit",), f"{folder / self.unit}: {line}") for line in str(error).splitlines()])
        return self

    def read(self, folder: Path) -> Unit | None:
        """The unit file, which `_check` has found to be in order; None where none is named."""
        return None if self.unit is None else read_unit(folder / self.unit)

    def spec(self, unit: Unit | None) -> SystemdSpec:
        """The stop and the restart: what the unit says, and in place of it what is said here, as a drop-in would."""
        base = SystemdSpec() if unit is None else unit.spec
        given = {
            name: value
            for name in ("kill_mode", "kill_signal", "final_kill_signal", "send_sigkill", "timeout_stop", "restart")
            if (value := getattr(self, name)) is not None
        }
        if self.success_exit_status is not None:
            given["success_codes"] = tuple(each for each in self.success_exit_status if isinstance(each, int))
            given["success_signals"] = tuple(each for each in self.success_exit_status if isinstance(each, str))
        return replace(base, **given)


@dataclass(frozen=True, kw_only=True)
class Started:
    """How the unit's service is started: templates with placeholders."""

    command: list[str]
    environment: Mapping[str, str]
    working_directory: str | None
    """None: that of `[start]`."""


def started(table: SystemdTable, unit: Unit | None, *, command: list[str], environment: Mapping[str, str]) -> Started:
    """What is started: `systemd.command`, else the unit's ExecStart, else the command of `[start]` that is given."""
    if unit is None:
        full = {**environment, **table.env}
        return Started(command=table.command or command, environment=full, working_directory=table.cwd)
    return Started(
        command=table.command or unit.command_template(table.env),
        environment={**unit.environment_template(), **table.env},
        working_directory=table.cwd or unit.working_directory,
    )


def start_mistakes(start: Started, *, table: SystemdTable, ports: tuple[str, ...], workers: tuple[int, ...]) -> Found:
    """What never reaches the command. The placeholders themselves have been found right."""
    used = {name for text in (*start.command, *start.environment.values()) for name in placeholders.names(text)}
    place = ("systemd", "command" if table.command else "unit" if table.unit is not None else "env")
    found: Found = []
    if not start.command:
        return [(("systemd",), "expected a unit with an ExecStart=, or a command here or in [start]")]
    for port in ports:
        placeholder = placeholders.port_placeholder(port)
        if placeholder not in used:
            text = f"the command never gets {{{placeholder}}}, a new one for each start: where the unit has it in a "
            text += f'variable, say env = {{ {port.upper()}_PORT = "{{{placeholder}}}" }}; else give the command here'
            found.append((place, text))
    if len(workers) > 1 and "workers" not in used:
        found.append((("systemd", "workers"), "several counts, but there is no {workers} in the command or in env"))
    return found
