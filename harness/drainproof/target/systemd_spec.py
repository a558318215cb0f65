"""What a systemd unit says of how its service is stopped, and what systemd makes of the way in which it ends.

Pure, and emulated: no systemd is asked. The rules are those of systemd.kill(5) and systemd.service(5), version 252.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

KillMode = Literal["control-group", "mixed", "process"]
"""Who gets the stop signal: every process of the unit at once; the main process, and SIGKILL for the others when it has
ended; the main process alone."""

Restart = Literal["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"]

Result = Literal["success", "exit-code", "signal", "timeout"]
"""What a service ended with, as `systemctl show -p Result` has it (a core dump counts as a signal here)."""

KILL_MODES: tuple[KillMode, ...] = get_args(KillMode)
RESTARTS: tuple[Restart, ...] = get_args(Restart)

KILLED = "unit_killed"
"""The event that says that the emulated systemd has sent its final signal."""

CLEAN_SIGNALS = frozenset({"SIGHUP", "SIGINT", "SIGTERM", "SIGPIPE"})
"""Signals that a service may die of and count as having ended in order."""

TIMEOUT_STOP = 90.0
"""Seconds: systemd's DefaultTimeoutStopSec."""

RESTARTED_AFTER: Mapping[Restart, frozenset[Result]] = {
    "no": frozenset(),
    "always": frozenset({"success", "exit-code", "signal", "timeout"}),
    "on-success": frozenset({"success"}),
    "on-failure": frozenset({"exit-code", "signal", "timeout"}),
    "on-abnormal": frozenset({"signal", "timeout"}),
    "on-abort": frozenset({"signal"}),
    "on-watchdog": frozenset(),
}
"""The table of systemd.service(5), without its row for the watchdog."""


@dataclass(frozen=True, kw_only=True)
class SystemdSpec:
    """The stop and the restart of a unit. Seconds are floats; signals are names."""

    unit: Path | None = None
    """The unit file; None where the manifest gives the keys itself."""
    kill_mode: KillMode = "control-group"
    kill_signal: str = "SIGTERM"
    final_kill_signal: str = "SIGKILL"
    send_sigkill: bool = True
    send_sighup: bool = False
    timeout_stop: float = TIMEOUT_STOP
    """Infinity: it is waited for without an end."""
    restart: Restart = "no"
    success_codes: tuple[int, ...] = ()
    success_signals: tuple[str, ...] = ()
    prevent_codes: tuple[int, ...] = ()
    prevent_signals: tuple[str, ...] = ()
    force_codes: tuple[int, ...] = ()
    force_signals: tuple[str, ...] = ()
    ignore_failure: bool = False
    """`ExecStart=-…`: whatever its exit code is, it counts as success."""
    not_emulated: tuple[str, ...] = ()
    """Keys of the unit that are left out of account here."""

    def result(self, *, code: int | None, signal_number: int | None) -> Result:
        """What an end by itself counts as. Exactly one of the two is not None."""
        if code is not None:
            return "success" if code == 0 or code in self.success_codes or self.ignore_failure else "exit-code"
        name = _name(signal_number)
        return "success" if name in CLEAN_SIGNALS or name in self.success_signals or self.ignore_failure else "signal"

    def restarts(self, *, code: int | None, signal_number: int | None) -> bool:
        """Whether it is started again after an end that nobody has asked for. (After `systemctl stop` it never is.)"""
        name = None if code is not None else _name(signal_number)
        if code in self.prevent_codes or name in self.prevent_signals:
            return False
        if code in self.force_codes or name in self.force_signals:
            return True
        return self.result(code=code, signal_number=signal_number) in RESTARTED_AFTER[self.restart]

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        lists = {name: list(value) for name, value in asdict(self).items() if isinstance(value, tuple)}
        return {
            **asdict(self),
            **lists,
            "unit": None if self.unit is None else str(self.unit),
            "timeout_stop": "infinity" if math.isinf(self.timeout_stop) else self.timeout_stop,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SystemdSpec:
        """Reads what `to_json` wrote."""
        tuples = {name: tuple(each) for name, each in value.items() if isinstance(each, list)}
        unit = None if value["unit"] is None else Path(value["unit"])
        return cls(**{**value, **tuples, "unit": unit, "timeout_stop": float(value["timeout_stop"])})


def _name(number: int | None) -> str | None:
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return str(number)
