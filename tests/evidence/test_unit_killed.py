"""What systemd (emulated) had to kill did not end by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drainproof.evidence import Evidence
from drainproof.recorder import EXPERIMENT, PROBES, TIMELINE
from drainproof.target.systemd_spec import KILLED

from tests.test_experiment import tiny

LEFT = [{"pid": 7, "cmdline": ["worker"]}]


def evidence(folder: Path, *, timeout: bool, main: bool, closed_at: float = 15.01) -> Evidence:
    experiment = {"target": tiny().to_json(), "workers": 1, "ports": {"http": 80}, "load": []}
    (folder / EXPERIMENT).write_text(json.dumps(experiment))
    killed = {"timeout": timeout, "main": main, "signal": "SIGKILL", "processes": LEFT}
    events: list[dict[str, Any]] = [
        {"t": 1.0, "event": "launch"},
        {"t": 10.0, "event": "fault", "kind": "signal", "signal": "SIGTERM", "proven": True, "because": ""},
        {"t": 15.0, "event": KILLED, **killed},
        {"t": 15.005, "event": "exit", "code": None if main else 0, "signal": 9 if main else None},
        {"t": 15.006, "event": "gone"},
        {"t": 15.5, "event": "observed"},
    ]
    (folder / TIMELINE).write_text("".join(json.dumps(event) + "\n" for event in events))
    listener = {"probe": "listener", "port": 80}
    looks = [
        {"t0": closed_at - 0.02, "t": closed_at - 0.019, **listener, "value": {"inodes": [1]}},
        {"t0": closed_at, "t": closed_at + 0.001, **listener, "value": {"inodes": []}},
    ]
    (folder / PROBES).write_text("".join(json.dumps(look) + "\n" for look in looks))
    return Evidence(folder)


def test_an_end_by_the_final_signal_is_none(tmp_path: Path) -> None:
    killed = evidence(tmp_path, timeout=True, main=True)
    assert killed.exit is None and killed.exit_after is None and killed.gone is None
    assert killed.survivors == LEFT


def test_who_outlived_the_main_process_is_a_survivor(tmp_path: Path) -> None:
    killed = evidence(tmp_path, timeout=True, main=False)
    assert killed.exit is not None and killed.exit.code == 0
    assert killed.gone is None and killed.survivors == LEFT
    assert killed.listener_closed is None and killed.still_works() == "still listen on its port"


def test_what_was_closed_before_was_closed_by_itself(tmp_path: Path) -> None:
    assert evidence(tmp_path, timeout=True, main=True, closed_at=12.0).listener_closed is not None


def test_whom_mixed_kills_early_does_not_count(tmp_path: Path) -> None:
    killed = evidence(tmp_path, timeout=False, main=False)
    assert killed.unit_killed is None and killed.exit is not None and killed.gone == 15.006
    assert killed.survivors == []
