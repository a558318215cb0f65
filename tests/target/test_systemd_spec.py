"""What systemd makes of an end: the rules and the table of systemd.service(5)."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path

import pytest
from drainproof.target.systemd_spec import RESTARTS, SystemdSpec

ENDS = {
    "clean code": {"code": 0, "signal_number": None},
    "clean signal": {"code": None, "signal_number": signal.SIGTERM},
    "unclean code": {"code": 1, "signal_number": None},
    "unclean signal": {"code": None, "signal_number": signal.SIGSEGV},
}

TABLE = {
    "no": set(),
    "always": set(ENDS),
    "on-success": {"clean code", "clean signal"},
    "on-failure": {"unclean code", "unclean signal"},
    "on-abnormal": {"unclean signal"},
    "on-abort": {"unclean signal"},
    "on-watchdog": set(),
}


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("end", ENDS)
def test_the_table_of_restarts(restart: str, end: str) -> None:
    assert SystemdSpec(restart=restart).restarts(**ENDS[end]) is (end in TABLE[restart])


@pytest.mark.parametrize(
    ("end", "result"),
    [
        ({"code": 0, "signal_number": None}, "success"),
        ({"code": 143, "signal_number": None}, "exit-code"),
        ({"code": None, "signal_number": signal.SIGTERM}, "success"),
        ({"code": None, "signal_number": signal.SIGINT}, "success"),
        ({"code": None, "signal_number": signal.SIGKILL}, "signal"),
        ({"code": None, "signal_number": 40}, "signal"),
    ],
)
def test_results(end: dict[str, int | None], result: str) -> None:
    assert SystemdSpec().result(**end) == result


def test_statuses_that_are_declared_as_success() -> None:
    spec = SystemdSpec(success_codes=(143,), success_signals=("SIGKILL",), restart="on-failure")
    assert spec.result(code=143, signal_number=None) == "success"
    assert spec.result(code=None, signal_number=signal.SIGKILL) == "success"
    assert not spec.restarts(code=143, signal_number=None)


def test_a_dash_makes_every_end_a_success() -> None:
    assert SystemdSpec(ignore_failure=True).result(code=1, signal_number=None) == "success"


def test_statuses_that_prevent_and_force_a_restart() -> None:
    spec = SystemdSpec(restart="on-failure", prevent_codes=(3,), force_signals=("SIGTERM",))
    assert not spec.restarts(code=3, signal_number=None)
    assert spec.restarts(code=None, signal_number=signal.SIGTERM)


@pytest.mark.parametrize("timeout", [3.0, math.inf])
def test_json_and_back(timeout: float) -> None:
    spec = SystemdSpec(unit=Path("/a/b.service"), timeout_stop=timeout, success_codes=(1, 2), not_emulated=("User",))
    assert SystemdSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
