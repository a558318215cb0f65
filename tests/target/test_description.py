"""A target as data: placeholders filled for a real process, and the way into the evidence and back."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from drainproof.errors import HarnessError
from drainproof.load.plan import Expectation, Request
from drainproof.target.description import FatalError, Policy, Provocation, Target
from drainproof.target.manifest import load_target
from hypothesis import given, settings
from hypothesis import strategies as st

MANIFEST = """
[start]
command = ["{python}", "show.py", "--ports={port},{grpc_port}", "{workers}", "{{port}}", "{folder}|{tmp}"]
env = { SHOWN = "{port}/{tmp}", BRACES = "{{}}" }
ports = ["http", "grpc"]
workers = [1, 3]
[health]
readiness = "/ready"
[[request]]
name = "slow"
path = "/slow"
duration = 2
[[request]]
name = "fast"
path = "/fast"
duration = 0.01
[[request]]
name = "for-ever"
path = "/for-ever"
duration = "endless"
[provoke.load_failure]
args = ["--model", "{tmp}/none"]
env = { SHOWN = "{workers}" }
"""

SHOW = """
import json, os, sys
print(json.dumps([sys.executable, sys.argv[1:], os.environ["SHOWN"], os.environ["BRACES"]]))
"""

PORTS = {"http": 8001, "grpc": 8002}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    (tmp_path / "drainproof.toml").write_text(MANIFEST)
    (tmp_path / "show.py").write_text(SHOW)
    return load_target(tmp_path)


def run(target: Target, command: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(
        command, env=environment, cwd=target.working_directory, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_started_process_sees_its_placeholders_filled(target: Target, tmp_path: Path) -> None:
    tmp = tmp_path / "tmp"
    command = target.command_line(ports=PORTS, workers=3, tmp=tmp)
    environment = target.environment_for(ports=PORTS, workers=3, tmp=tmp)
    folder = tmp_path.resolve()
    arguments = ["--ports=8001,8002", "3", "{port}", f"{folder}|{tmp}"]
    assert run(target, command, environment) == [sys.executable, arguments, f"8001/{tmp}", "{}"]


def test_a_provocation_is_added_to_the_command_and_the_environment(target: Target, tmp_path: Path) -> None:
    provocation = target.load_failure
    assert provocation is not None
    command = target.command_line(ports=PORTS, workers=1, tmp=tmp_path, extra=provocation.arguments)
    environment = target.environment_for(ports=PORTS, workers=1, tmp=tmp_path, extra=provocation.environment)
    _, arguments, shown, _ = run(target, command, environment)
    assert arguments[-2:] == ["--model", f"{tmp_path}/none"]
    assert shown == "1"


def test_requests_by_their_duration(target: Target) -> None:
    assert [target.fast().name, target.slow().name] == ["fast", "slow"]
    endless = target.endless()
    assert endless is not None
    assert endless.name == "for-ever"


def test_one_request_is_both_the_fast_and_the_slow_one(tmp_path: Path) -> None:
    target = made(tmp_path, requests=(Request(name="only", method="GET", path="/"),))
    assert target.fast() is target.slow() is target.requests[0]
    assert target.endless() is None


def made(folder: Path, **given: Any) -> Target:
    """A target made in code, as nothing checks it."""
    given = {"command": ("x", "{port}"), "requests": (), **given}
    return Target(name="x", folder=folder, manifest=None, working_directory=folder, readiness="/", **given)


def test_mistakes_of_code_are_the_harness_own(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no request of finite duration"):
        made(tmp_path).slow()
    with pytest.raises(HarnessError, match="needs a port number for http"):
        made(tmp_path).command_line(ports={}, workers=1, tmp=tmp_path)
    with pytest.raises(HarnessError, match=r"unknown placeholder \{prt\}"):
        made(tmp_path, command=("{prt}",)).command_line(ports=PORTS, workers=1, tmp=tmp_path)


def test_a_policy_completes_what_it_does_not_say() -> None:
    policy = Policy(stop_signals=("SIGHUP", "SIGTERM"), exit_codes={"SIGTERM": (7,)}, second_signal={})
    assert policy.exit_codes == {"SIGHUP": (0, 129), "SIGTERM": (7,)}
    assert policy.second_signal == {"SIGHUP": "ignored", "SIGTERM": "ignored"}
    assert policy == Policy(stop_signals=("SIGHUP", "SIGTERM"), exit_codes={"SIGHUP": (0, 129), "SIGTERM": (7,)})


# ---- to the evidence and back


def test_evidence_is_read_where_the_folder_does_not_exist(target: Target) -> None:
    text = json.dumps(target.to_json(), allow_nan=False)
    assert '"duration": "endless"' in text
    (target.folder / "drainproof.toml").unlink()
    (target.folder / "show.py").unlink()
    target.folder.rmdir()
    assert Target.from_json(json.loads(text)) == target


def test_damaged_evidence_is_said(target: Target) -> None:
    value = target.to_json()
    for damaged in (
        {},
        {**value, "folder": 3},
        {**value, "policy": None},
        {**value, "requests": [{}]},
        {**value, "x": 1},
    ):
        with pytest.raises(HarnessError, match="not the description of a target"):
            Target.from_json(damaged)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
variables = st.dictionaries(texts, texts, max_size=3)
several = st.lists(texts, max_size=3).map(tuple)
numbers = st.floats(0.001, 1e6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
requests = st.builds(
    Request,
    name=texts,
    method=texts,
    path=texts,
    headers=variables,
    body=texts,
    expect=st.builds(
        Expectation,
        status=st.lists(st.integers(200, 599), min_size=1, max_size=3).map(tuple),
        contains=st.none() | texts,
        json=json_values,
    ),
    duration=numbers | st.just(math.inf) | st.just(0.0),
    safe_to_repeat=st.booleans(),
)
policies = st.builds(
    Policy,
    grace_period=numbers,
    settle_time=numbers,
    stop_signals=st.lists(st.sampled_from(["SIGTERM", "SIGINT", "SIGHUP"]), unique=True).map(tuple),
    exit_codes=st.dictionaries(st.sampled_from(["SIGTERM", "SIGINT"]), st.lists(st.integers(0, 255)).map(tuple)),
    second_signal=st.dictionaries(st.just("SIGTERM"), st.sampled_from(["ignored", "forces_exit"])),
    startup_failure=st.sampled_from(["exits", "stays_up_not_ready"]),
)
paths = st.sampled_from([Path("/a"), Path("/a b/ü"), Path("relative")])
targets = st.builds(
    Target,
    name=texts,
    folder=paths,
    manifest=st.none() | paths,
    command=several,
    working_directory=paths,
    environment=variables,
    start_deadline=numbers,
    ports=several,
    workers=st.lists(st.integers(1, 64), min_size=1).map(tuple),
    readiness=texts,
    liveness=st.none() | texts,
    requests=st.lists(requests, max_size=3).map(tuple),
    policy=policies,
    load_failure=st.none()
    | st.builds(Provocation, environment=variables, arguments=several, names_cause=st.none() | texts),
    fatal=st.none() | st.builds(FatalError, request=requests, environment=variables, arguments=several),
)


@settings(max_examples=100, deadline=None)
@given(target=targets)
def test_every_target_survives_strict_json(target: Target) -> None:
    text = json.dumps(target.to_json(), allow_nan=False)
    assert Target.from_json(json.loads(text)) == target
