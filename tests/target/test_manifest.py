"""Manifests as users write them, right and wrong: real files in real folders, read by `load_target`."""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from drainproof.errors import ManifestError
from drainproof.load.plan import Expectation
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import Target
from drainproof.target.manifest import SMALLEST, load_target
from drainproof.target.manifest_models import (
    DescribeTable,
    Health,
    LoadFailure,
    Manifest,
    SecretsTable,
    Start,
    WorkersTable,
)
from drainproof.target.manifest_pods import KubernetesTable, PodTable
from drainproof.target.manifest_policy import PolicyTable, RestartTable
from drainproof.target.manifest_requests import Expect, RequestTable
from drainproof.target.manifest_section import Section
from drainproof.target.manifest_systemd import SystemdTable
from hypothesis import given, settings
from hypothesis import strategies as st

START = '[start]\ncommand = ["server", "{port}"]\n'
HEALTH = '[health]\nreadiness = "/ready"\n'
REQUEST = '[[request]]\npath = "/predict"\n'

JARGON = re.compile(
    r"pydantic|validation error|Input should|Traceback|Extra inputs|\b(None|dict|json_value|Location)\b"
)
"""What a user of TOML should never have to read."""


def read(folder: Path, text: str, file: str = "drainproof.toml") -> Target:
    (folder / file).write_text(textwrap.dedent(text), encoding="utf-8")
    return load_target(folder)


def mistakes(folder: Path, text: str) -> dict[str, str]:
    """What `load_target` complains about: for each `key` or `key = value` line the text under it."""
    with pytest.raises(ManifestError) as caught:
        read(folder, text)
    message = str(caught.value)
    assert not JARGON.search(message), message
    head, *lines = message.split("\n")
    assert head.startswith(f"{folder / 'drainproof.toml'}: {len(lines) // 2} mistake"), message
    return {key.strip(): told.strip() for key, told in zip(lines[::2], lines[1::2], strict=True)}


# ---- right ones


def test_the_smallest_manifest_has_good_defaults(tmp_path: Path) -> None:
    folder = tmp_path / "my-server"
    folder.mkdir()
    target = read(folder, START + HEALTH + REQUEST)
    assert target.name == "my-server"
    assert target.folder == target.working_directory == folder.resolve()
    assert target.manifest == folder.resolve() / "drainproof.toml"
    assert (target.ports, target.workers, target.start_deadline) == (("http",), (1,), 30.0)
    assert (target.readiness, target.liveness) == ("/ready", None)
    assert (target.load_failure, target.fatal) == (None, None)
    [request] = target.requests
    assert (request.name, request.method, request.path) == ("GET /predict", "GET", "/predict")
    assert (request.headers, request.body, request.expect) == ({}, "", Expectation())
    assert request.safe_to_repeat
    policy = target.policy
    assert (policy.grace_period, policy.settle_time) == (30.0, 3.0)
    assert policy.stop_signals == ("SIGTERM", "SIGINT")
    assert policy.exit_codes == {"SIGTERM": (0, 143), "SIGINT": (0, 130)}
    assert policy.second_signal == {"SIGTERM": "ignored", "SIGINT": "ignored"}
    assert policy.startup_failure == "exits"


def test_the_manifest_shown_to_beginners_is_valid(tmp_path: Path) -> None:
    [request] = read(tmp_path, SMALLEST).requests
    assert request.body == '{"id": "{token}"}'
    assert request.expect.contains == "{token}"


FULL = """
    name = "Everything"
    [start]
    command = "{python} 'my server.py' --port={port} --config '{{\\"a\\": 1}}'"
    cwd = "sub"
    env = { GRPC = "{grpc_port}", WORKERS = "{workers}", HOME = "{folder}:{tmp}" }
    deadline = 5
    ports = ["http", "grpc"]
    workers = [4, 1, 2]
    [health]
    readiness = "/v2/health/ready?full=1"
    liveness = "/live"
    [[request]]
    name = "fast"
    path = "/predict/{token}"
    headers = { Accept = "text/plain", X-Id = "{token}" }
    expect = { status = [200, 204], contains = "{token}", json = { a = [1, "{token}"] } }
    duration = 0.02
    [[request]]
    name = "slow"
    path = "/predict"
    json = { token = "{token}", text = "Zoë", n = [1, 2.5, true] }
    duration = 2
    safe_to_repeat = false
    [[request]]
    name = "raw"
    method = "PUT"
    path = "/raw"
    body = "plain {token} {x}"
    headers = { Content-Type = "text/plain" }
    duration = "endless"
    [policy]
    grace_period = 10
    settle_time = 0.5
    stop_signals = ["SIGTERM", "SIGQUIT"]
    exit_codes = { SIGTERM = 0 }
    second_signal = { SIGQUIT = "forces_exit" }
    startup_failure = "stays_up_not_ready"
    [provoke.load_failure]
    env = { MODEL = "{folder}/none" }
    args = ["--model", "none"]
    names_cause = "No such (file|folder)"
    [provoke.fatal]
    path = "/die"
    json = {}
    args = ["--allow-death"]
"""


def test_everything_that_can_be_declared(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    target = read(tmp_path, FULL)
    assert target.name == "Everything"
    assert target.command == ("{python}", "my server.py", "--port={port}", "--config", '{{"a": 1}}')
    assert target.working_directory == tmp_path.resolve() / "sub"
    assert (target.ports, target.workers, target.start_deadline) == (("http", "grpc"), (1, 2, 4), 5.0)
    assert (target.readiness, target.liveness) == ("/v2/health/ready?full=1", "/live")

    fast, slow, raw = target.requests
    assert fast.expect == Expectation(status=(200, 204), contains="{token}", json={"a": [1, "{token}"]})
    assert fast.headers == {"Accept": "text/plain", "X-Id": "{token}"}
    assert (slow.method, slow.headers) == ("POST", {"content-type": "application/json"})
    assert json.loads(slow.body.replace("{token}", "t1")) == {"token": "t1", "text": "Zoë", "n": [1, 2.5, True]}
    assert not slow.safe_to_repeat
    assert (raw.method, raw.body, raw.headers) == ("PUT", "plain {token} {x}", {"Content-Type": "text/plain"})
    assert (target.fast(), target.slow(), target.endless()) == (fast, slow, raw)

    policy = target.policy
    assert policy.exit_codes == {"SIGTERM": (0,), "SIGQUIT": (0, 131)}
    assert policy.second_signal == {"SIGTERM": "ignored", "SIGQUIT": "forces_exit"}
    assert policy.startup_failure == "stays_up_not_ready"
    assert target.load_failure is not None
    assert target.load_failure.environment == {"MODEL": "{folder}/none"}
    assert target.load_failure.arguments == ("--model", "none")
    assert target.load_failure.names_cause == "No such (file|folder)"
    assert target.fatal is not None
    assert (target.fatal.request.name, target.fatal.request.method) == ("fatal", "POST")
    assert target.fatal.arguments == ("--allow-death",)


def test_a_declared_content_type_is_kept(tmp_path: Path) -> None:
    text = START + HEALTH + REQUEST + 'json = 1\nheaders = { CONTENT-TYPE = "application/x-json" }\n'
    assert read(tmp_path, text).requests[0].headers == {"CONTENT-TYPE": "application/x-json"}


def test_a_json_false_is_a_body_too(tmp_path: Path) -> None:
    request = read(tmp_path, START + HEALTH + REQUEST + "json = false\n").requests[0]
    assert (request.method, request.body) == ("POST", "false")


# ---- where the manifest is


def test_pyproject_is_read_where_there_is_no_manifest_of_its_own(tmp_path: Path) -> None:
    manifest = f'[tool.drainproof]\nname = "from-pyproject"\n{START}{HEALTH}{REQUEST}'
    manifest = re.sub(r"\[(start|health)\]", r"[tool.drainproof.\1]", manifest)
    manifest = manifest.replace("[[request]]", "[[tool.drainproof.request]]")
    assert read(tmp_path, '[project]\nname = "x"\n' + manifest, "pyproject.toml").name == "from-pyproject"
    assert load_target(tmp_path / "pyproject.toml").name == "from-pyproject"

    read(tmp_path, 'name = "its own"\n' + START + HEALTH + REQUEST)
    assert load_target(tmp_path).name == "its own"


def test_a_mistake_in_pyproject_is_named_with_its_whole_key(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"pyproject\.toml: 1 mistake\n  tool\.drainproof = 3\n"):
        read(tmp_path, "[tool]\ndrainproof = 3\n", "pyproject.toml")
    text = "[tool.drainproof]\nstart.command = '{port}'\nhealth.ready = '/'\n[[tool.drainproof.request]]\n"
    with pytest.raises(ManifestError) as caught:
        read(tmp_path, text, "pyproject.toml")
    assert "\n  tool.drainproof.health.ready = " in str(caught.value)
    assert "\n  tool.drainproof.request[0].path\n" in str(caught.value)


def test_one_of_several_manifests_in_a_folder_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "kserve-0.13.toml").write_text(START + HEALTH + REQUEST)
    target = load_target(tmp_path / "kserve-0.13.toml")
    assert (target.name, target.folder) == ("kserve-0.13", tmp_path.resolve())


def test_a_linked_manifest_belongs_to_the_folder_of_the_link(tmp_path: Path) -> None:
    for name in ("shared", "one"):
        (tmp_path / name).mkdir()
    (tmp_path / "shared" / "drainproof.toml").write_text(START + HEALTH + REQUEST)
    (tmp_path / "one" / "drainproof.toml").symlink_to("../shared/drainproof.toml")
    for path in (tmp_path / "one", tmp_path / "one" / "drainproof.toml"):
        target = load_target(path)
        assert (target.name, target.folder) == ("one", tmp_path.resolve() / "one")


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, START + HEALTH + REQUEST)
    monkeypatch.chdir(tmp_path)
    assert load_target(Path()).folder == tmp_path.resolve()


def test_a_folder_without_a_manifest_shows_what_to_create(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load_target(tmp_path)
    assert f"Create {tmp_path / 'drainproof.toml'}" in str(caught.value)
    assert str(caught.value).endswith(SMALLEST)


@pytest.mark.parametrize(
    ("present", "asked", "told"),
    [
        ("drainprof.toml", "", "drainprof.toml?"),
        ("my-server/x", "my-sever", "there is no such file or folder. Did you mean"),
        ("server.py", "server.py", "expected a folder or a TOML file"),
        ("pyproject.toml", "pyproject.toml", "has no [tool.drainproof]"),
    ],
)
def test_a_path_that_has_no_manifest(tmp_path: Path, present: str, asked: str, told: str) -> None:
    (tmp_path / present).parent.mkdir(exist_ok=True)
    (tmp_path / present).write_text("")
    with pytest.raises(ManifestError) as caught:
        load_target(tmp_path / asked)
    assert told in str(caught.value)


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot be read: File name too long|there is no such file or folder"):
        load_target(tmp_path / ("x" * 300))


def test_a_file_that_is_neither(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ManifestError, match="this is neither"):
        load_target(tmp_path / "pipe.toml")


# ---- wrong ones


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b'[start]\ncommand = ["a"\n[health]\n',
            r"drainproof\.toml, line 3, column \d+: not valid TOML: .+\n  \[health\]",
        ),
        (b"[start]\ncommand = 'a\nb'", r"drainproof\.toml.*: not valid TOML"),
        (b"[start]\ncommand = '''a", r"drainproof\.toml.*: not valid TOML"),
        (b"a = 1\na = 2\n", r"drainproof\.toml.*: not valid TOML: Cannot overwrite a value"),
        (b'[start]\ncommand = "\xff"\n', r"drainproof\.toml, line 2: not UTF-8 \(byte 0xff\)"),
        (b"a = " + b"[" * 20_000, r"nested too deeply|not valid TOML"),
        (b"a" + b".a" * 5_000 + b" = 1\n", r"nested too deeply|unknown key"),
        (b"n = " + b"9" * 5_000, r"not valid TOML|unknown key"),
        (b"n = 0x" + b"f" * 5_000, r"too large to show"),
    ],
    ids=["array", "quote", "quotes", "twice", "utf-8", "brackets", "dots", "digits", "hex"],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "drainproof.toml").write_bytes(content)
    with pytest.raises(ManifestError) as caught:
        load_target(tmp_path)
    assert re.search(told, str(caught.value)), str(caught.value)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "drainproof.toml").write_bytes(b"\xef\xbb\xbf" + (START + HEALTH + REQUEST).encode())
    assert load_target(tmp_path).readiness == "/ready"


def start(command: str) -> str:
    return f"[start]\ncommand = {command}\n{HEALTH}{REQUEST}"


def started(line: str) -> str:
    return f"{START}{line}\n{HEALTH}{REQUEST}"


def health(lines: str) -> str:
    return f"{START}[health]\n{lines}\n{REQUEST}"


def requested(lines: str) -> str:
    return f"{START}{HEALTH}{REQUEST}{lines}\n"


def policy(lines: str) -> str:
    return f"{START}{HEALTH}{REQUEST}[policy]\n{lines}\n"


def provoke(lines: str) -> str:
    return f"{START}{HEALTH}{REQUEST}{lines}\n"


WRONG = [
    # the whole file
    ("", "start", "missing; expected the section [start]"),
    (HEALTH + REQUEST, "start", "missing; expected the section [start] with the command, or [container] with an image"),
    (START + REQUEST, "health", "missing; expected the section [health]"),
    (START + HEALTH, "request", "missing; expected at least one [[request]]"),
    ("request = []\n" + START + HEALTH, "request = []", "at least one [[request]]"),
    (
        START + HEALTH + REQUEST.replace("[[request]]", "[request]"),
        'request = {"path": "/predict"}',
        "two pairs of brackets",
    ),
    ("start = 3\n" + HEALTH + REQUEST, "start = 3", "expected a table: [start]"),
    (
        START + HEALTH + REQUEST.replace("request", "requests"),
        'requests = [{"path": "/predict"}]',
        'Did you mean "request"?',
    ),
    ("name = 3\n" + START + HEALTH + REQUEST, "name = 3", 'expected a string (in quotes: "3")'),
    ('name = "a\\nb"\n' + START + HEALTH + REQUEST, 'name = "a\\nb"', "printable"),
    # [start]
    ("[start]\n" + HEALTH + REQUEST, "start.command", "missing; expected the command that starts the server"),
    (start("[]"), "start.command = []", "expected a command"),
    (start('""'), 'start.command = ""', "expected a command"),
    (start("3"), "start.command = 3", "an array of strings, or one string"),
    (start('["a", 8080, "{port}"]'), "start.command[1] = 8080", 'expected a string (in quotes: "8080")'),
    (start('["a\\u0000", "{port}"]'), 'start.command[0] = "a\\u0000"', "NUL"),
    (start('"a \'b {port}"'), 'start.command = "a \'b {port}"', "quotes in it do not match (no closing quotation)"),
    (start('"cd x && a {port}"'), 'start.command = "cd x && a {port}"', '["sh", "-c", "exec …"]'),
    (start('"A=1 a {port}"'), 'start.command = "A=1 a {port}"', "put variables in start.env"),
    (start('["a"]'), 'start.command = ["a"]', "expected {port} in it, or in start.env"),
    (
        start('["a", "{prt}"]'),
        'start.command[1] = "{prt}"',
        "Did you mean {port}? Valid here: {port}, {workers}, {python}",
    ),
    (start('"a {prt}"'), 'start.command = "a {prt}"', "Did you mean {port}?"),
    (start('["a", "{port}", "{grpc_port}"]'), 'start.command[2] = "{grpc_port}"', 'ports = ["http", "grpc"]'),
    (start('["a", "{port}", "{http_port}"]'), 'start.command[2] = "{http_port}"', "Did you mean {port}?"),
    (
        start('["a", "{port:05}"]'),
        'start.command[1] = "{port:05}"',
        "{port:05} is not a placeholder; a brace itself is",
    ),
    (start('["a", "{port!r}"]'), 'start.command[1] = "{port!r}"', "is not a placeholder"),
    (start('["a", "{port.real}"]'), 'start.command[1] = "{port.real}"', "is not a placeholder"),
    (start('["a", "{}{port}"]'), 'start.command[1] = "{}{port}"', "is not a placeholder"),
    (start('["a", "{port}", "{"]'), 'start.command[2] = "{"', "a brace itself is written {{ or }}"),
    (start("['a', '{port}', '{\"x\": 1}']"), 'start.command[2] = "{\\"x\\": 1}"', "a brace itself is written {{ or }}"),
    (started('comand = "x"'), 'start.comand = "x"', 'Did you mean "command"?'),
    (started('liveness = "/"'), 'start.liveness = "/"', "It belongs in [health]."),
    (started('name = "x"'), 'start.name = "x"', "before the first [section]"),
    (started('cwd = "none"'), 'start.cwd = "none"', "there is no such folder in"),
    (started(f'cwd = "{"x" * 300}"'), f'start.cwd = "{"x" * 99}…', "there is no such folder in"),
    (started("deadline = 0"), "start.deadline = 0", "greater than 0"),
    (started("deadline = true"), "start.deadline = true", "expected seconds"),
    (started("deadline = inf"), "start.deadline = Infinity", "at most 86400"),
    (started("deadline = nan"), "start.deadline = NaN", "expected seconds"),
    (started("env = { A = 1 }"), "start.env.A = 1", 'in quotes: "1"'),
    (started("env = { A = true }"), "start.env.A = true", "expected a string"),
    (started("env = { 'A=' = '1' }"), 'start.env."A=" = "1"', "environment variable"),
    (started("env = [1]"), "start.env = [1]", "expected a table"),
    (started('env = { A = "{wrkers}" }'), 'start.env.A = "{wrkers}"', "Did you mean {workers}?"),
    (started('ports = ["http", "grpc"]'), 'start.ports[1] = "grpc"', "expected {grpc_port} in start.command"),
    (started('ports = ["http", "http"]'), 'start.ports[1] = "http"', "named twice"),
    (started("ports = []"), "start.ports = []", '"http" among them'),
    (started('ports = "http"'), 'start.ports = "http"', "expected an array"),
    (started("ports = [8080]"), "start.ports[0] = 8080", "expected a name"),
    (started("workers = [1, 2]"), "start.workers = [1, 2]", "there is no {workers}"),
    (started("workers = 0"), "start.workers = 0", "1 or more"),
    (started("workers = []"), "start.workers = []", "1 or more"),
    (started("workers = [1, true]"), "start.workers[1] = true", "1 or more"),
    # [health]
    (
        health(""),
        "health.readiness",
        'missing; expected the path that answers 2xx when the server is ready, such as "/ready"',
    ),
    (health('readiness = "ready"'), 'health.readiness = "ready"', "begins with /"),
    (health('readiness = "http://x/ready"'), 'health.readiness = "http://x/ready"', "the path alone"),
    (health('readiness = "/a b"'), 'health.readiness = "/a b"', "%20"),
    (health('readiness = "/a\\r\\nX: y"'), 'health.readiness = "/a\\r\\nX: y"', "visible ASCII"),
    (health('readines = "/ready"'), 'health.readines = "/ready"', 'Did you mean "readiness"?'),
    # [[request]]
    (
        requested('[[request]]\nname = "x"'),
        "request[1].path",
        'missing; expected the path of the request, such as "/predict"',
    ),
    (requested('[[request]]\npath = "/predict"'), "request[1].name", 'a second request named "GET /predict"'),
    (requested('method = "post"'), 'request[0].method = "post"', 'Did you mean "POST"?'),
    (requested('method = "HEAD"'), 'request[0].method = "HEAD"', 'expected "GET", "POST", "PUT"'),
    (
        requested('[[request]]\npath = "/{tokn}"'),
        'request[1].path = "/{tokn}"',
        "{token} is the only placeholder in a path",
    ),
    (requested("headers = { X-A = 1 }"), "request[0].headers.X-A = 1", "expected a string"),
    (requested('headers = { "X A" = "1" }'), 'request[0].headers."X A" = "1"', "name of a header"),
    (requested('headers = { X = "a\\nb" }'), 'request[0].headers.X = "a\\nb"', "on one line"),
    (
        requested('headers = { Content-Length = "3" }'),
        'request[0].headers.Content-Length = "3"',
        "sets this header itself",
    ),
    (requested('headers = { X = "1", x = "2" }'), 'request[0].headers.x = "2"', "the same header twice"),
    (requested('json = 1\nbody = "x"'), 'request[0].body = "x"', "there is json already"),
    (requested("json = { at = 2024-01-01 }"), 'request[0].json.at = "2024-01-01"', "no dates"),
    (requested("json = [1, { x = inf }]"), "request[0].json[1].x = Infinity", "no infinity"),
    (requested("body = 3"), "request[0].body = 3", "expected a string"),
    (requested("duration = 0"), "request[0].duration = 0", 'or "endless"'),
    (requested("duration = inf"), "request[0].duration = Infinity", 'or "endless"'),
    (requested('duration = "endles"'), 'request[0].duration = "endles"', 'or "endless"'),
    (
        requested('duration = "endless"'),
        'request = [{"path": "/predict", "duration": "endless"}]',
        "at least one request that ends",
    ),
    (requested("duration = 30"), "request[0].duration = 30", "within the grace period of 30 s"),
    (requested('safe_to_repeat = "yes"'), 'request[0].safe_to_repeat = "yes"', "true or false"),
    (requested("expect = { status = 99 }"), "request[0].expect.status = 99", "from 200 to 599"),
    (requested("expect = { status = [200, '204'] }"), 'request[0].expect.status[1] = "204"', "HTTP status"),
    (requested("expect = { contain = 'x' }"), 'request[0].expect.contain = "x"', 'Did you mean "contains"?'),
    (requested("expect = { contains = '' }"), 'request[0].expect.contains = ""', "contains the empty one"),
    (requested("expect = { contains = 'a {token}' }"), 'request[0].expect.contains = "a {token}"', "has no {token}"),
    (
        requested("expect = { json = { id = '{token}' } }"),
        'request[0].expect.json = {"id": "{token}"}',
        "has no {token}",
    ),
    # [policy]
    (policy("grace_period = -1"), "policy.grace_period = -1", "greater than 0"),
    (policy('settle_time = "3"'), 'policy.settle_time = "3"', "a number"),
    (policy('stop_signals = ["SIGTRM"]'), 'policy.stop_signals[0] = "SIGTRM"', 'Did you mean "SIGTERM"?'),
    (policy('stop_signals = ["term"]'), 'policy.stop_signals[0] = "term"', 'Did you mean "SIGTERM"?'),
    (policy("stop_signals = [15]"), "policy.stop_signals[0] = 15", 'Did you mean "SIGTERM"?'),
    (policy('stop_signals = ["SIGKILL"]'), 'policy.stop_signals[0] = "SIGKILL"', "no process can handle it"),
    (policy('stop_signals = ["SIGTERM", "SIGTERM"]'), 'policy.stop_signals[1] = "SIGTERM"', "named twice"),
    (policy("stop_signals = []"), "policy.stop_signals = []", "at least one signal"),
    (policy("exit_codes = { SIGTERM = 256 }"), "policy.exit_codes.SIGTERM = 256", "from 0 to 255"),
    (policy("exit_codes = { SIGTERM = [0, -15] }"), "policy.exit_codes.SIGTERM[1] = -15", "from 0 to 255"),
    (policy("exit_codes = { SIGTEM = 0 }"), "policy.exit_codes.SIGTEM = 0", 'Did you mean "SIGTERM"?'),
    (
        policy("exit_codes = { SIGHUP = 0 }"),
        "policy.exit_codes.SIGHUP = 0",
        "those are SIGTERM, SIGINT (policy.stop_signals)",
    ),
    (
        policy('second_signal = { SIGINT = "forces exit" }'),
        'policy.second_signal.SIGINT = "forces exit"',
        '"forces_exit"?',
    ),
    (policy('startup_failure = "exit"'), 'policy.startup_failure = "exit"', 'Did you mean "exits"?'),
    # [provoke]
    (provoke("[provoke.load_failure]"), "provoke.load_failure = {}", "expected env or args"),
    (
        provoke('[provoke.load_failure]\nargs = ["{tpm}"]'),
        'provoke.load_failure.args[0] = "{tpm}"',
        "Did you mean {tmp}?",
    ),
    (
        provoke("[provoke.load_failure]\nargs = ['x']\nnames_cause = '('"),
        'provoke.load_failure.names_cause = "("',
        "regular",
    ),
    (provoke("[provoke.load_failures]"), "provoke.load_failures = {}", 'Did you mean "load_failure"?'),
    (
        provoke('[provoke.fatal]\nenv = { A = "{x}" }\npath = "/"'),
        'provoke.fatal.env.A = "{x}"',
        "unknown placeholder {x}",
    ),
    (
        provoke('[provoke.fatal]\nname = "GET /predict"\npath = "/"'),
        'provoke.fatal.name = "GET /predict"',
        "a second request",
    ),
    (provoke("[provoke.fatal]"), "provoke.fatal.path", "missing; expected the path of the request"),
]


@pytest.mark.parametrize(("text", "key", "told"), WRONG, ids=[f"{i}:{key}" for i, (_, key, _) in enumerate(WRONG)])
def test_a_mistake_names_key_and_value_and_what_was_expected(tmp_path: Path, text: str, key: str, told: str) -> None:
    found = mistakes(tmp_path, text)
    assert key in found
    assert told in found[key]
    if text:
        assert list(found) == [key], "one mistake is told as one"


def test_several_mistakes_are_all_told_at_once(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        [start]
        command = ["server", "{prt}"]
        cwd = "none"
        [health]
        readines = "/ready"
        [[request]]
        path = "predict"
        [[request]]
        path = "/slow"
        duration = -1
        expect = { status = "ok" }
        [policy]
        stop_signals = ["SIGTERM", "SIGIN"]
        [polcy]
        """,
    )
    assert list(found) == [
        'start.command[1] = "{prt}"',
        'start.cwd = "none"',
        'health.readines = "/ready"',
        'request[0].path = "predict"',
        'request[1].expect.status = "ok"',
        "request[1].duration = -1",
        'policy.stop_signals[1] = "SIGIN"',
        "polcy = {}",
    ]


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    [key] = mistakes(tmp_path, requested(f'method = "{"x" * 1000}"'))
    assert len(key) < 150
    assert key.endswith("…")


# ---- whatever is in the file, it is a target or a ManifestError


BASE: dict[str, Any] = {
    "name": "x",
    "start": {
        "command": ["s", "{port}", "{grpc_port}", "{workers}"],
        "cwd": ".",
        "env": {"A": "{tmp}"},
        "deadline": 3.0,
        "ports": ["http", "grpc"],
        "workers": [1, 2],
    },
    "health": {"readiness": "/r", "liveness": "/l"},
    "request": [
        {"name": "a", "path": "/{token}", "json": {"t": "{token}"}, "expect": {"status": [200], "contains": "{token}"}},
        {"name": "b", "method": "PUT", "path": "/b", "body": "b", "headers": {"X": "y"}, "duration": "endless"},
    ],
    "policy": {
        "grace_period": 9,
        "stop_signals": ["SIGTERM"],
        "exit_codes": {"SIGTERM": [0, 3]},
        "second_signal": {"SIGTERM": "ignored"},
    },
    "provoke": {
        "load_failure": {"env": {"M": "{folder}"}, "args": ["x"], "names_cause": "x+"},
        "fatal": {"path": "/die"},
    },
}


def toml(value: Any) -> str:
    """A TOML value, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return json.dumps(value).replace("\x7f", "\\u007f")


def document(table: dict[str, Any]) -> str:
    return "".join(f"{toml(key)} = {toml(value)}\n" for key, value in table.items())


words = st.sampled_from(
    [
        "",
        "{",
        "}",
        "{port}",
        "{token}",
        "{x!r}",
        "{0}",
        "{{}}",
        "/",
        "endless",
        "SIGTERM",
        "SIGKILL",
        "http",
        "GET",
        "(",
        "\0",
    ]
)
texts = words | st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.lists(words, max_size=3).map("".join)
scalars = texts | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.dates() | st.datetimes() | st.times()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in inner for place in [(*here, key), *places(each, (*here, key))]]


@st.composite
def changed_tables(draw: st.DrawFn) -> str:
    """The base manifest with some values replaced, keys renamed, or things removed."""
    table = copy.deepcopy(BASE)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(table)))
        parent = table
        for key in place[:-1]:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "remove", "rename"])):
            case "replace":
                parent[place[-1]] = draw(values)
            case "rename" if isinstance(parent, dict):
                parent[draw(texts)] = parent.pop(place[-1])
            case _:
                del parent[place[-1]]
        if not places(table):
            break
    return document(table)


@st.composite
def changed_texts(draw: st.DrawFn) -> str:
    """The base manifest as text with a piece of it replaced by another one."""
    text = document(BASE)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(texts | st.text(max_size=5)) + text[at + draw(st.integers(0, 30)) :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutations")


def test_the_base_of_the_mutations_is_valid(folder: Path) -> None:
    assert read(folder, document(BASE)).name == "x"


@settings(max_examples=300, deadline=None)
@given(text=changed_tables() | changed_texts())
def test_any_change_gives_a_target_or_a_manifest_error(folder: Path, text: str) -> None:
    (folder / "drainproof.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        target = load_target(folder)
    except ManifestError as error:
        message = str(error)
        assert "drainproof.toml" in message
        assert "Input should" not in message
        assert "pydantic" not in message
        return
    # what is accepted can be used: filled in, and saved
    ports = dict.fromkeys(target.ports, 8080)
    for part in target.command_line(ports=ports, workers=1, tmp=folder):
        assert "\0" not in part
    target.environment_for(ports=ports, workers=1, tmp=folder)
    if target.load_failure is not None:
        target.command_line(ports=ports, workers=1, tmp=folder, extra=target.load_failure.arguments)
        target.environment_for(ports=ports, workers=1, tmp=folder, extra=target.load_failure.environment)
    assert target.slow().duration < math.inf
    assert Target.from_json(json.loads(json.dumps(target.to_json(), allow_nan=False))) == target


# ---- the reference


REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "manifest.md"


def test_the_examples_of_the_reference_are_valid(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    examples = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    targets = [read(tmp_path, example) for example in examples]
    assert [len(target.requests) for target in targets] == [1, 3, 3]
    assert examples[0] == SMALLEST


def test_the_mistakes_that_the_reference_shows_are_told_so(tmp_path: Path) -> None:
    shown = re.findall(r"```text\n\S+ 2 mistakes\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    text = requested("duration = -1").replace('"{port}"', '"a", "b", "{prt}"')
    assert shown == ["".join(f"  {key}\n      {told}\n" for key, told in mistakes(tmp_path, text).items())]


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("## Top of the file", Manifest),
        ("## `[start]`", Start),
        ("## `[systemd]`", SystemdTable),
        ("## `[health]`", Health),
        ("## `[[request]]`", RequestTable),
        ("### `expect`", Expect),
        ("## `[policy]`", PolicyTable),
        ("### `[policy.restart]`", RestartTable),
        ("### `[provoke.load_failure]`", LoadFailure),
        ("## `[workers]`", WorkersTable),
        ("### `[workers.describe]`", DescribeTable),
        ("## `[kubernetes]`", KubernetesTable),
        ("## `[pod]`", PodTable),
        ("## `[secrets]`", SecretsTable),
    ],
)
def test_the_reference_has_every_key_of_a_section(heading: str, section: type[Section]) -> None:
    part = re.split(r"\n##", REFERENCE.read_text().split(f"\n{heading}\n")[1])[0]
    keys = re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE)
    assert keys == [field.alias or name for name, field in section.model_fields.items()]


CONTAINER = '[container]\nimage = "my-server:1"\n'


def load(folder: Path, text: str, launch: str | None = None) -> Target:
    (folder / "drainproof.toml").write_text(text)
    return load_target(folder, launch=launch)


def test_a_container_needs_no_start(tmp_path: Path) -> None:
    target = load(tmp_path, CONTAINER + HEALTH + REQUEST)
    assert (target.launch, target.ports, target.command, target.workers) == ("container", ("http",), (), (1,))
    assert target.container == ContainerSpec(image="my-server:1", ports={"http": 8000})
    assert Target.from_json(json.loads(json.dumps(target.to_json()))) == target


def test_the_launch_mode_is_chosen_among_those_that_are_declared(tmp_path: Path) -> None:
    both = 'start.command = ["server", "{port}"]\nstart.deadline = 7\n' + CONTAINER + HEALTH + REQUEST
    both += "[policy]\nexit_codes = { SIGTERM = 143, SIGINT = 130 }\n[policy.container]\nexit_codes = { SIGTERM = 0 }\n"
    as_process, in_container = load(tmp_path, both), load(tmp_path, both, "container")
    assert (as_process.launch, as_process.policy.exit_codes["SIGTERM"]) == ("process", (143,))
    assert (in_container.launch, in_container.start_deadline) == ("container", 7.0)
    assert dict(in_container.policy.exit_codes) == {"SIGTERM": (0,), "SIGINT": (130,)}
    with pytest.raises(ManifestError, match=r"add \[container\] with an image or a build folder"):
        load(tmp_path, START + HEALTH + REQUEST, "container")
    with pytest.raises(ManifestError, match=r'expected one of process, container, systemd. Did you mean "container"\?'):
        load(tmp_path, both, "contaner")


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("[container]\n", "container = {}", "expected one of image"),
        ('[container]\nbuild = "nowhere"\n', 'container.build = "nowhere"', "there is no Dockerfile in"),
        (CONTAINER + 'command = ["{folder}/x"]\n', "container.command[0]", "{folder} is a path of this machine"),
        (CONTAINER + 'command = ["{prt}"]\n', "container.command[0]", "Did you mean {port}?"),
        (CONTAINER + "ports = { grpc = 9000 }\n", "container.ports", '"http" among them'),
        (CONTAINER + "ports = { http = 9000, grpc = 9000 }\n", "container.ports", "two names have the same number"),
        (CONTAINER + "ports = { http = 0 }\n", "container.ports.http = 0", "expected a whole number"),
        (CONTAINER + "workers = [1, 2]\n", "container.workers = [1, 2]", "there is no {workers}"),
        (START + CONTAINER + "ports = { http = 1, x = 2 }\n", "container.ports", "expected the names that start.ports"),
    ],
)
def test_a_mistake_in_a_container_is_named(tmp_path: Path, text: str, key: str, expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path, text + HEALTH + REQUEST)
    assert key in str(caught.value)
    assert expected in str(caught.value)
