"""`[systemd]` of a manifest, with a unit file and without."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from drainproof.errors import ManifestError
from drainproof.target.description import Target
from drainproof.target.manifest import load_target

START = '[start]\ncommand = ["server", "--port", "{port}"]\nworkers = 2\ndeadline = 7.0\nenv = { LEVEL = "info" }\n'
REST = """
[health]
readiness = "/ready"
[[request]]
path = "/"
expect = { contains = "{token}" }
headers = { x = "{token}" }
"""
UNIT = """[Service]
Environment=PORT=8000 NAME={braces}
ExecStart=/opt/server --port ${PORT} --name ${NAME}
WorkingDirectory=/
KillMode=mixed
KillSignal=SIGINT
TimeoutStopSec=4
Restart=on-failure
"""


def load(folder: Path, text: str, *, unit: str | None = None) -> Target:
    (folder / "drainproof.toml").write_text(text + REST)
    if unit is not None:
        (folder / "my.service").write_text(unit)
    return load_target(folder, launch="systemd")


def mistake(folder: Path, text: str, *, unit: str | None = None) -> str:
    with pytest.raises(ManifestError) as caught:
        load(folder, text, unit=unit)
    return str(caught.value)


def test_keys_beside_the_command_of_start(tmp_path: Path) -> None:
    target = load(tmp_path, START + '[systemd]\nkill_mode = "mixed"\ntimeout_stop = "1min 5s"\nenv = { MORE = "1" }\n')
    assert target.launch == "systemd" and target.systemd is not None
    assert target.command == ("server", "--port", "{port}")
    assert dict(target.environment) == {"LEVEL": "info", "MORE": "1"}
    assert (target.workers, target.start_deadline, target.working_directory) == ((2,), 7.0, tmp_path)
    assert (target.systemd.kill_mode, target.systemd.restart) == ("mixed", "no")
    assert target.policy.grace_period == 65.0
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_a_unit_alone_is_enough(tmp_path: Path) -> None:
    text = '[systemd]\nunit = "my.service"\nenv = { PORT = "{port}" }\n'
    target = load(tmp_path, text, unit=UNIT)
    assert target.command == ("/opt/server", "--port", "{port}", "--name", "{{braces}}")
    assert target.command_line(ports={"http": 81}, workers=1, tmp=tmp_path)[1:] == [
        "--port",
        "81",
        "--name",
        "{braces}",
    ]
    environment = target.environment_for(ports={"http": 81}, workers=1, tmp=tmp_path)
    assert environment == {"PORT": "81", "NAME": "{braces}"}
    assert str(target.working_directory) == "/"
    assert target.policy.stop_signals == ("SIGINT",) and target.policy.grace_period == 4.0
    assert dict(target.policy.exit_codes) == {"SIGINT": (0, 130)}
    assert target.systemd is not None and target.systemd.unit == tmp_path / "my.service"


def test_what_the_manifest_says_takes_the_place_of_what_the_unit_says(tmp_path: Path) -> None:
    text = (
        '[systemd]\nunit = "my.service"\ncommand = ["x", "{port}"]\ncwd = "."\nkill_signal = "SIGTERM"\n'
        'timeout_stop = 9\nsuccess_exit_status = [143, "SIGUSR1"]\nrestart = "always"\nsend_sigkill = false\n'
    )
    target = load(tmp_path, text, unit=UNIT)
    spec = target.systemd
    assert spec is not None and target.command == ("x", "{port}") and target.working_directory == tmp_path
    assert (spec.kill_mode, spec.kill_signal, spec.timeout_stop, spec.restart) == ("mixed", "SIGTERM", 9.0, "always")
    assert (spec.success_codes, spec.success_signals, spec.send_sigkill) == ((143,), ("SIGUSR1",), False)


def test_without_an_end_the_grace_period_is_that_of_the_policy(tmp_path: Path) -> None:
    target = load(tmp_path, START + '[systemd]\ntimeout_stop = "infinity"\n[policy]\ngrace_period = 12\n')
    assert target.policy.grace_period == 12.0
    assert target.systemd is not None and math.isinf(target.systemd.timeout_stop)


def test_a_policy_of_its_own(tmp_path: Path) -> None:
    text = START + "[systemd]\ntimeout_stop = 5\n[policy]\nexit_codes = { SIGTERM = 143 }\n"
    assert dict(load(tmp_path, text).policy.exit_codes) == {"SIGTERM": (143,)}
    text += '[policy.systemd]\nexit_codes = 0\nsettle_time = 1.5\nsecond_signal = "forces_exit"\n'
    policy = load(tmp_path, text).policy
    assert dict(policy.exit_codes) == {"SIGTERM": (0,)} and policy.settle_time == 1.5
    assert dict(policy.second_signal) == {"SIGTERM": "forces_exit"}


def test_it_is_not_chosen_where_there_is_another_way(tmp_path: Path) -> None:
    load(tmp_path, START + "[systemd]\n")
    target = load_target(tmp_path)
    assert target.launch == "process" and target.systemd is None


@pytest.mark.parametrize(
    ("text", "unit", "said"),
    [
        ('[systemd]\nunit = "no.service"\n', None, "no.service cannot be read: No such file"),
        ('[systemd]\nunit = "my.service"\n', UNIT + "ExecStop=/bin/true\n", "line 9: ExecStop= is not emulated"),
        ('[systemd]\nunit = "my.service"\n', UNIT, "the command never gets {port}, a new one for each start: where"),
        ("[systemd]\n", None, "expected a unit with an ExecStart=, or a command here or in [start]"),
        (START + '[systemd]\nkill_mode = "mixd"\n', None, 'Did you mean "mixed"?'),
        (START + '[systemd]\ntimeout_stop = "soon"\n', None, 'a time span such as "1min 30s", or "infinity"'),
        (START + "[systemd]\ntimeout_stop = 0\n", None, "a number greater than 0"),
        (START + '[systemd]\nfinal_kill_signal = "SIGNOPE"\n', None, "expected the name of a signal"),
        (START + '[systemd]\nkill_signal = "SIGKILL"\n', None, "no process can handle it"),
        (START + '[systemd]\nsuccess_exit_status = ["143"]\n', None, "expected exit statuses from 0 to 255"),
        (START + '[systemd]\nports = ["http", "grpc"]\n', None, "expected the names that start.ports has: http"),
        (START + '[systemd]\nenv = { A = "{prt}" }\n', None, "unknown placeholder {prt}. Did you mean {port}?"),
        (START + '[systemd]\ncwd = "nowhere"\n', None, "there is no such folder"),
        ('[systemd]\ncommand = ["x", "{port}"]\nworkers = [1, 2]\n', None, "there is no {workers} in the command"),
        ('[systemd]\ncommand = ["x", "{port}"]\nports = ["grpc"]\n', None, 'expected "http" among them'),
    ],
)
def test_mistakes(tmp_path: Path, text: str, unit: str | None, said: str) -> None:
    assert said in mistake(tmp_path, text, unit=unit)
