"""Which values are secrets, in which forms they are found, and what must not be hidden."""

from __future__ import annotations

import ast
import base64
import json
import signal
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import drainproof
import drainproof_reports
import pytest
from drainproof.errors import ManifestError
from drainproof.faults.bad_clients.cases import Case
from drainproof.hidden import REDACTED, Hidden
from drainproof.probes.debris import find_debris
from drainproof.redaction import Redactor, Secrets, forms_of, secrets_of
from drainproof.secret_names import names_a_secret
from drainproof.target.description import Target
from drainproof.target.manifest import load_target
from drainproof.target.output import OutputLog
from drainproof.verdict import Gate, Known, Results, Stale, Verdict
from drainproof.vocabulary import COMMON
from hypothesis import given
from hypothesis import strategies as st

MANIFEST = """
[start]
command = {command}
env = {{ {env} }}
[health]
readiness = "/ready"
[[request]]
path = "{path}"
headers = {{ {headers} }}
[secrets]
names = {names}
harmless = {harmless}
"""


def target(
    folder: Path, *, command: str = '["serve", "{port}"]', names: str = "[]", harmless: str = "[]", **parts: str
) -> Target:
    values = {"env": "", "headers": "", "path": "/predict", **parts}
    text = MANIFEST.format(command=command, names=names, harmless=harmless, **values)
    (folder / "drainproof.toml").write_text(text, encoding="utf-8")
    return load_target(folder)


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "API_KEY", "apiKey", "X-Api-Key", "x-amz-security-token", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
     "DB_PASSWORD", "MYSQL_PWD", "DB_PASS", "Authorization", "Proxy-Authorization", "Set-Cookie", "GOOGLE_CREDENTIALS",
     "SSH_PRIVATE_KEY", "STRIPE_KEY", "REGISTRY_AUTH", "token", "clientSecret"],
)  # fmt: skip
def test_names_of_credentials(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name",
    ["TOKENIZERS_PARALLELISM", "PWD", "OLDPWD", "KEY", "PASSWORD_FILE", "TOKEN_LIMIT", "KEYBOARD", "AUTHOR", "PATH",
     "SSH_AUTH_SOCK", "AWS_REGION", "AWS_PROFILE", "COOKIE_NAME", "MONKEY", "PASSENGERS", "content-type", ""],
)  # fmt: skip
def test_names_of_other_things(name: str) -> None:
    assert not names_a_secret(name)


def test_where_secrets_are_found(tmp_path: Path) -> None:
    basic = base64.b64encode(b"me:basic-pass").decode()
    found = secrets_of(
        target(
            tmp_path,
            command='["serve", "{port}", "--api-key", "argument-1", "--token=argument-2", "DB_PASSWORD=argument-3"]',
            env='API_TOKEN = "by-its-name", DSN = "marked", PARTS_KEY = "{folder}/between/{tmp}", DB = "pg://u:in-url@h"',
            headers=f'Authorization = "Basic {basic}", Cookie = "session=a-cookie; theme=dark-mode"',
            path="/predict?api_key=in-a-query&page=something",
            names='["dsn"]',
        ),
        {"HF_TOKEN": "inherited", "HOME": "/home/somebody", "HTTPS_PROXY": "http://proxy-user:proxy-pass@proxy:3128"},
    )
    assert found == {
        "argument-1", "argument-2", "argument-3", "by-its-name", "marked", "/between/", "in-url", "in-a-query",
        f"Basic {basic}", basic, "me:basic-pass", "basic-pass", "session=a-cookie; theme=dark-mode", "a-cookie",
        "dark-mode", "inherited", "proxy-pass",
    }  # fmt: skip


@pytest.mark.parametrize("value", ["true", "1", "test", "None", "none", "12345", "131072", "xxxxxxxx", "short"])
def test_a_value_that_says_nothing_is_hidden_where_it_is_declared_alone(tmp_path: Path, value: str) -> None:
    described = target(tmp_path, env=f'USE_TOKEN = "{value}"', names='["USE_TOKEN"]' if len(value) > 5 else "[]")
    redactor = Redactor.of(described, environment={})
    assert redactor.forms == ()
    assert redactor.json(described.to_json())["environment"] == {"USE_TOKEN": REDACTED}
    assert redactor.text(f"it is {value}") == f"it is {value}"


def test_harmless_names_are_left_alone(tmp_path: Path) -> None:
    described = target(tmp_path, env='SORT_KEY = "created"', harmless='["sort_key"]')
    redactor = Redactor.of(described, environment={})
    assert redactor.forms == ()
    assert redactor.json(described.to_json())["environment"] == {"SORT_KEY": "created"}


def test_a_placeholder_is_no_secret(tmp_path: Path) -> None:
    described = target(tmp_path, headers='X-Idempotency-Key = "{token}", Authorization = "Bearer {token}"')
    shown = Redactor.of(described, environment={}).json(described.to_json())["requests"][0]["headers"]
    assert shown == {"X-Idempotency-Key": "{token}", "Authorization": REDACTED}


def test_saved_targets_have_no_secrets_left_to_search_for(tmp_path: Path) -> None:
    described = target(tmp_path, env='API_TOKEN = "by-its-name"', names='["x"]')
    saved = json.loads(json.dumps(Redactor.of(described, environment={}).json(described.to_json())))
    again = Target.from_json(saved)
    assert again.secrets == Secrets(names=("x",))
    assert secrets_of(again, {}) == set()


def test_words_of_the_evidence_stay_what_they_are() -> None:
    redactor = Redactor(["leftovers"])
    line = {"event": "leftovers", "text": "leftovers of leftovers", "leftovers": 1}
    assert redactor.json(line) == {"event": "leftovers", "text": "[redacted] of [redacted]", "leftovers": 1}


@given(st.text(min_size=4, max_size=20), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_wherever_it_lies(secret: str, before: bytes, after: bytes) -> None:
    data = secret.encode("utf-8", "surrogateescape") if secret.isascii() else b"plain-secret"
    encoded = base64.b64encode(before + data + after)
    forms = forms_of(data.decode())
    if len(data) > 4:  # of four bytes, five characters alone do not depend on what is beside them: too few to be sure
        assert any(form.encode() in encoded for form in forms)


@given(st.lists(st.integers(0, 60), max_size=5), st.text("ab-", max_size=20), st.text("ab-", max_size=20))
def test_a_secret_is_found_however_it_is_cut(cuts: list[int], before: str, after: str) -> None:
    secret, data = b"ab-aab-b", f"{before}ab-aab-b{after}".encode()
    hidden = Hidden([secret.decode()])
    out, rest, done = b"", b"", 0
    for at in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        rest, done = rest + data[done:at], at
        cut = hidden.cut(rest, len(rest))
        out, rest = out + hidden.replace(rest[:cut]), rest[cut:]
    assert out + hidden.replace(rest) == hidden.replace(data)
    assert secret not in out


def test_what_repeats_the_beginning_of_a_secret_is_not_held_for_ever() -> None:
    hidden = Hidden(["abab" * 50])
    data = b"ab" * 20_000
    assert len(data) - hidden.cut(data, len(data)) < 20_000


@given(st.binary(max_size=7), st.binary(max_size=7))
def test_bytes_in_base64_stay_bytes_in_base64(before: bytes, after: bytes) -> None:
    """As the malformed requests are kept, which are decoded to be shown and sent again."""
    case = Case(kind="framing", parts=((before + b"Bearer the-secret" + after, 3),), ends="now")
    saved = Redactor(["the-secret"]).json(case.to_json())
    assert Case.from_json(saved).parts == ((before + b"Bearer [redacted]" + after, 3),)


def test_overlapping_secrets_leave_nothing() -> None:
    assert Redactor(["first-half", "half-second"]).text("x first-half-second y") == "x [redacted] y"


def test_lines_that_go_on_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has waited for its end for too long goes to the file, but for what may become a secret."""
    monkeypatch.setattr("drainproof.target.output.FLUSH_INTERVAL", 0.0)
    file = tmp_path / "output.jsonl"
    log = OutputLog(str(file), streams=("stdout",), hidden=Hidden(["the-secret"]))
    for part in (b"it is the-s", b"ecr", b"et and more", b" the-s"):
        log.feed("stdout", 1.0, part)
        log.work(until=float("inf"))
    assert log.recent(5)[-1] == "the-s"
    log.finish(2.0)
    texts = [record["text"] for record in map(json.loads, file.read_text().splitlines()) if "text" in record]
    assert (
        texts == ["it is ", "[redacted] and more", " ", "the-s"] or "".join(texts) == "it is [redacted] and more the-s"
    )


def test_a_secret_across_two_pieces_of_a_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drainproof.redaction.PIECE", 7)
    (tmp_path / "a.log").write_bytes(b"x" * 50 + b"the-long-secret" + b"y" * 50)
    Redactor(["the-long-secret"]).clean(tmp_path)
    assert (tmp_path / "a.log").read_bytes() == b"x" * 50 + b"[redacted]" + b"y" * 50


def test_files_are_cleaned_and_stay_what_they_were(tmp_path: Path) -> None:
    redactor = Redactor(["n-secret"])
    (tmp_path / "deep").mkdir()
    lines = tmp_path / "deep" / "reports.jsonl"
    lines.write_text(json.dumps({"a": "x\n-secret n-secret"}) + "\n" + '{"cut": "n-secr' + "n-secret\n")
    lines.chmod(0o666)
    raw = tmp_path / "haproxy.cfg"
    raw.write_bytes(b"\xff n-secret\n")
    untouched = tmp_path / "ledger.jsonl"
    untouched.write_text('{"a":   1}\n')
    before = untouched.stat().st_ino
    redactor.clean(tmp_path)
    assert json.loads(lines.read_text().splitlines()[0]) == {"a": "x\n-secret [redacted]"}
    assert lines.read_text().splitlines()[1] == '{"cut": "n-secr[redacted]'
    assert lines.stat().st_mode & 0o777 == 0o666
    assert raw.read_bytes() == b"\xff [redacted]\n"
    assert untouched.stat().st_ino == before
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "haproxy.cfg", "ledger.jsonl", "reports.jsonl"]


@pytest.mark.parametrize("text", ["API_TOKEN = 4711471147", 'API_TOKEN = "unfinished-4711471147\n'])
def test_mistakes_in_a_manifest_are_told_without_secrets(tmp_path: Path, text: str) -> None:
    with pytest.raises(ManifestError) as caught:
        (tmp_path / "drainproof.toml").write_text(f"[start]\ncommand = ['x']\n[start.env]\n{text}\n")
        load_target(tmp_path)
    assert "API_TOKEN = [redacted]" in str(caught.value)
    assert "4711471147" not in str(caught.value)


def test_a_target_without_a_command(tmp_path: Path) -> None:
    text = '[container]\nimage = "x"\nenv = { API_TOKEN = "by-its-name" }\n'
    text += '[health]\nreadiness = "/"\n[[request]]\npath = "/"\n'
    (tmp_path / "drainproof.toml").write_text(text)
    assert secrets_of(load_target(tmp_path), {}) == {"by-its-name"}


def test_a_password_in_a_url_is_not_shown_with_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        target(tmp_path, env='DB = "postgres://me:my-password@host/{nothing}"')
    assert 'start.env.DB = "postgres://me:[redacted]@host/{nothing}"' in str(caught.value)


JUDGED = {
    "provoke.load_failure.names_cause": '[provoke.load_failure]\nargs = ["x"]\nnames_cause = "no.the-planted-cause"',
    "provoke.worker_failure.names_cause": "[provoke.worker_failure]\nargs = ['x']\nnames_cause = 'the-planted-cause'",
    "windows.says_limited": '[windows]\nsays_limited = "the\\\\-planted\\\\-cause"',
    "workers.command": '[workers]\ncommand = "the-planted-cause"',
    "workers.executed": '[workers]\nexecuted = "the-planted-cause (?P<token>.*)"',
    "workers.pid": "[workers]\npid = '\"the-planted-cause\"'",
    "workers.describe.settings": "[workers.describe]\npath = '/'\nsettings = '\"the-planted-cause\"'",
    "workers.describe.expect": "[workers.describe]\npath = '/'\nsettings = 'a'\nexpect = ['the-planted-cause']",
}
"""Where a manifest says what the evidence is judged by."""


@pytest.mark.parametrize("key", JUDGED)
def test_what_is_judged_by_holds_no_secret(tmp_path: Path, key: str) -> None:
    """Hidden, it would be another expression: `[redacted]` is a class of characters, and matches nearly everything."""
    with pytest.raises(ManifestError) as caught:
        target(tmp_path, env='SIGNING_KEY = "the-planted-cause"', harmless=f"[]\n{JUDGED[key]}")
    assert f"{key} = [redacted]" in str(caught.value)
    assert "SIGNING_KEY" in str(caught.value)
    assert "the-planted" not in str(caught.value)


@pytest.mark.parametrize("key", JUDGED)
def test_what_is_judged_by_is_no_secret_of_the_environment(tmp_path: Path, key: str) -> None:
    described = target(tmp_path, harmless=f"[]\n{JUDGED[key]}")
    inherited = {"SIGNING_KEY": "the-planted-cause", "OTHER_KEY": "another-value"}
    assert secrets_of(described, inherited) == {"another-value"}
    saved = json.loads(json.dumps(Redactor.of(described, environment=inherited).json(described.to_json())))
    assert Target.from_json(saved) == described


@pytest.mark.parametrize("value", ["ignored", "forces_exit", "complete", "stays_up_not_ready", "SIGUSR1", "doubling"])
def test_the_policy_stays_what_it_is(tmp_path: Path, value: str) -> None:
    policy = '[]\n[policy]\nstop_signals = ["SIGUSR1", "SIGTERM"]\nsecond_signal = { SIGTERM = "forces_exit" }\n'
    policy += 'startup_failure = "stays_up_not_ready"\nrestart = { schedule = "doubling" }'
    described = target(tmp_path, harmless=policy)
    saved = Redactor.of(described, environment={"OPENAI_API_KEY": value}).json(described.to_json())
    assert Target.from_json(json.loads(json.dumps(saved))) == described


@pytest.mark.parametrize(
    "value",
    ["exception was never retrieved", "was never", "Traceback (most recent call last):", "RuntimeWarning", "future: <",
     "x\\nTask was destroyed but it is pending!", "KeyError", "Event loop is closed"],
)  # fmt: skip
def test_the_signatures_that_are_looked_for_are_never_hidden(tmp_path: Path, value: str) -> None:
    inherited = json.loads(f'"{value}"')
    assert secrets_of(target(tmp_path), {"X_TOKEN": inherited}) == set()
    if inherited in ("KeyError", "RuntimeWarning"):  # one word: hidden where it is declared, like `true`
        return
    with pytest.raises(ManifestError) as caught:
        target(tmp_path, env=f'X_TOKEN = "{value}"')
    assert "X_TOKEN = [redacted]" in str(caught.value)
    assert "choose another value" in str(caught.value)
    assert secrets_of(target(tmp_path, env=f'X_TOKEN = "{value}"', harmless='["X_TOKEN"]'), {}) == set()


def literals() -> set[str]:
    """Every word of the engine's and the reports' own types: those of `Literal[...]`."""
    words: set[str] = set()
    for package in (drainproof, drainproof_reports):
        for file in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
                    words |= {each.value for each in ast.walk(node.slice) if isinstance(each, ast.Constant)}
    return {word for word in words if isinstance(word, str)}


def test_no_word_of_ours_is_searched_for() -> None:
    assert {word for word in literals() if len(word) >= 4 and word.casefold() not in COMMON} == set()
    assert {name for name in signal.Signals.__members__ if name.casefold() not in COMMON} == set()
    assert {"keyerror", "cancellederror", "baseexceptiongroup"} <= COMMON


DEBRIS = """
Task was destroyed but it is pending!
task: <Task pending name='Task-1' coro=<work() running at <stdin>:4> wait_for=<Future pending cb=[Task.wakeup()]>>
Task exception was never retrieved
future: <Task finished name='Task-2' coro=<work() done, defined at <stdin>:4> exception=ValueError('x')>
Traceback (most recent call last):
  File "/srv/model_server/work.py", line 5, in work
    raise errors.Unloaded("x")
model_server.errors.Unloaded: x
/srv/model_server/main.py:7: RuntimeWarning: coroutine 'work' was never awaited
Exception ignored in: <function Server.__del__ at 0x7f1f>
Traceback (most recent call last):
  File "/srv/model_server/main.py", line 6, in __del__
    self.loop.call_soon(print)
model_server.errors.Unloaded: x
Traceback (most recent call last):
  File "/srv/model_server/main.py", line 6, in close
RuntimeError: Event loop is closed
"""


@given(st.sampled_from(DEBRIS.split()), st.integers(0, 30), st.integers(6, 60))
def test_no_secret_of_the_environment_hides_debris(word: str, start: int, length: int) -> None:
    described = Target(
        name="x",
        folder=Path("/"),
        manifest=None,
        command=("x",),
        working_directory=Path("/"),
        readiness="/",
        requests=(),
    )
    redactor = Redactor.of(described, environment={"X_TOKEN": word[start : start + length]})
    kinds = [each.kind for each in find_debris(map(_line, redactor.text(DEBRIS).splitlines()))]
    assert kinds == ["task_destroyed", "never_retrieved", "never_awaited", "exception_ignored", "loop_closed"]


def _line(text: str) -> dict[str, object]:
    return {"t": 1.0, "stream": "stderr", "text": text}


@pytest.mark.parametrize(
    "name",
    ["PGPASSWORD", "MYSQLPASSWORD", "DJANGO_SECRETKEY", "SSHPASS", "AUTHTOKEN", "ACCESSTOKEN", "API_KEYS", "DB_PASS2",
     "REDIS_CREDS", "CREDS", "GITHUB_PAT", "JWT", "MY_JWT", "DOCKER_AUTH_CONFIG", "AZURE_STORAGE_CONNECTION_STRING",
     "connectionString", "PRIVATE_KEYS", "accesstoken", "SECRET_KEY_BASE"],
)  # fmt: skip
def test_more_names_of_credentials(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name",
    ["PATTERN", "MAX_TOKENS", "max_new_tokens", "EOS_TOKEN", "pad_token", "STOP_TOKENS", "COMPASS", "BYPASS", "SPAT",
     "PATH_PAT_INFO", "num_tokens", "CONNECTION_STRING_LENGTH", "PASSTHROUGH", "PAT"],
)  # fmt: skip
def test_more_names_of_other_things(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    ("command", "value"),
    [
        ('["sh", "-c", "export INLINE_API_KEY=planted-1; exec serve {port}"]', "planted-1"),
        ('["sh", "-ec", "API_KEY=planted-1 exec serve {port}"]', "planted-1"),
        ("""["sh", "-c", "API_KEY='planted 1' exec serve {port}"]""", "planted 1"),
        ('["sh", "-c", "serve --api-key planted-1 {port} && true"]', "planted-1"),
        ('["serve", "{port}", "--env=API_KEY=planted-1"]', "planted-1"),
        ('["serve", "{port}", "--env", "API_KEY=planted-1"]', "planted-1"),
        ("""["serve", "{port}", '--config={{"api_key": "planted-1"}}']""", "planted-1"),
        ("""["serve", "{port}", '--config', '{{"deep": [{{"api_key": "planted-1"}}]}}']""", "planted-1"),
        ('["serve", "{port}", "--password=correct horse"]', "correct horse"),
        ('["serve", "{port}", "--db=postgres://me:planted-1@db"]', "planted-1"),
        ('["serve", "{port}", "--hook=http://h/?token=planted-1"]', "planted-1"),
        ('["sh", "-c", "API_KEY=$OTHER_VALUE exec serve {port}"]', None),
    ],
)
def test_secrets_inside_of_arguments(tmp_path: Path, command: str, value: str | None) -> None:
    assert secrets_of(target(tmp_path, command=command), {}) == ({value} if value else set())


def test_secrets_in_the_paths_of_health(tmp_path: Path) -> None:
    health = '[]\n[provoke.fatal]\npath = "/fatal?token=planted-3"\n'
    described = target(tmp_path, harmless=health)
    described = replace(described, readiness="/ready?api_key=planted-1", liveness="/live?token=planted-2")
    assert secrets_of(described, {}) == {"planted-1", "planted-2", "planted-3"}


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ('json = { api_key = "planted-1", deep = [{ password = "planted-2" }], x = "no" }', {"planted-1", "planted-2"}),
        ("body = 'api_key=planted-1&text=not-this'", {"planted-1"}),
        ("body = 'text about api_key and = signs'", set()),
        ('json = { token = "{token}", tokens = ["not-this"], max_tokens = 12345678 }', set()),
        ('expect = { json = { session_token = "planted-1" } }', {"planted-1"}),
    ],
)  # fmt: skip
def test_secrets_in_bodies(tmp_path: Path, body: str, values: set[str]) -> None:
    assert secrets_of(target(tmp_path, headers=f'}}\n{body}\n[[request]]\npath = "/a"\nheaders = {{'), {}) == values


def test_what_is_declared_of_a_run_has_no_secret() -> None:
    known = Known(id="DRAIN-1", reason="as in https://me:planted-1@h/", link="https://h/?the-secret")
    results = Results(
        target={}, versions={}, verdicts=(), started="", seconds=0, aborted=False,
        gate=Gate(rule="no-regression:/tmp/the-secret", passed=False, reasons=("the-secret",), remarks=("the-secret",)),
        stale=(Stale(known=replace(known, id="DRAIN-1 the-secret"), why="the-secret"),),
    )  # fmt: skip
    verdict = Verdict(
        requirement="A", level="MUST", rule="", scenario="s", title="", verdict="fail", summary="", known=known
    )
    redactor = Redactor(["the-secret"], told=[known.reason, known.link])
    shown = json.dumps([asdict(redactor.results(results)), asdict(redactor.verdict(verdict))])
    assert shown.count(REDACTED) == 9, shown
    assert "the-secret" not in shown
    assert "planted" not in shown


@pytest.mark.parametrize(
    "line",
    [
        'command = "serve --api-key=4711471147 {prot}"',
        'command = ["serve", "--api-key=4711471147", "{prot}"]',
        'command = ["serve", "--api-key", "4711471147", "{port}"]\nports = 5',
        'command = ["sh", "-c", "API_KEY=\'4711471147\' exec x {prot}"]',
        'command = "API_KEY=4711471147 serve {port}"',
        'command = ["x", "{port}"]\nenv = "API_KEY=4711471147"',
        'command = ["x", "{port}"]\nenv = { API_KEY = "4711471147" x }',
        'command = ["x", "{port}"]\nenv = { A = "b", API_KEY = "4711471147", C = "d" x }',
        'command = ["x", "--api-key", "4711471147" x]',
        "command = ['x', '--api-key=4711471147' x]",
        'command = ["x", "{port}"]\nenv = { DB = "postgres://me:4711471147@h" x }',
        'command = ["x", "{port}"]\n[health]\nreadiness = "ready?token=4711471147"',
        'command = ["x", "{port}"]\n[[request]]\nheaders = "Authorization: Bearer 4711471147"',
        'command = ["x", "{port}"]\n[[request]]\nbody = ["api_key=4711471147"]',
        "command = ['x', '{port}']\n[[request]]\npath = '/p'\nbody = 'a'\njson = '{\"api_key\": \"4711471147\"}'",
        'command = ["x", "{port}"]\nenv.API_KEY = """4711471147\nx""" y',
    ],
)
def test_no_mistake_shows_a_secret(tmp_path: Path, line: str) -> None:
    (tmp_path / "drainproof.toml").write_text(f"[start]\n{line}\n")
    with pytest.raises(ManifestError) as caught:
        load_target(tmp_path)
    assert "4711471147" not in str(caught.value), str(caught.value)


def test_a_mistake_without_a_secret_is_shown_in_full(tmp_path: Path) -> None:
    (tmp_path / "drainproof.toml").write_text('[start]\ncommand = ["serve", "--port" "{port}"]\n')
    with pytest.raises(ManifestError, match=r'command = \["serve", "--port" "\{port\}"\]'):
        load_target(tmp_path)


LONG = "".join(f"{number:04x}" for number in range(64))


@pytest.mark.parametrize(
    "shown",
    [
        LONG.encode().hex(), LONG.encode().hex().upper(), base64.encodebytes(LONG.encode()).decode(),
        "\n".join(textwrap.wrap(base64.b64encode(LONG.encode()).decode(), 64)),
    ],
)  # fmt: skip
def test_more_forms_of_a_secret(shown: str) -> None:
    assert set(Redactor([LONG]).text(shown)) <= set(f"\n{REDACTED}")


def test_an_escaped_slash_hides_no_secret() -> None:
    assert Redactor(["the/planted/secret"]).text(r'{"a": "the\/planted\/secret"}') == '{"a": "[redacted]"}'


def test_escape_sequences_hide_no_secret() -> None:
    redactor = Redactor(["the-planted-secret"])
    assert redactor.text("\x1b[1mthe-\x1b[31mplanted\x1b[0m-secret and more") == "[redacted] and more"
    assert redactor.text("\x1b[1mnothing\x1b[0m") == "\x1b[1mnothing\x1b[0m"
    assert redactor.json({"text": "the-\x1b[31mplanted-secret"}) == {"text": REDACTED}


def test_a_long_secret_is_not_cut_in_two() -> None:
    secret = "".join(f"{number:05x}" for number in range(4096))
    hidden = Hidden([secret, "another"])
    data = b"before " + secret.encode()[:-1]
    cut = hidden.cut(data, len(data))
    assert data[:cut] == b"before "


def test_escape_sequences_hide_no_secret_in_a_file(tmp_path: Path) -> None:
    lines = tmp_path / "output.jsonl"
    lines.write_text(json.dumps({"text": "a \x1b[1mthe-\x1b[31mplanted\x1b[0m-secret"}) + '\n{"text":"\\u001b[1mx"}\n')
    raw = tmp_path / "haproxy.log"
    raw.write_bytes(b"\xff the-\x1b[31mplanted-secret\n")
    Redactor(["the-planted-secret"]).clean(tmp_path)
    assert lines.read_text() == '{"text":"a [redacted]"}\n{"text":"\\u001b[1mx"}\n'
    assert raw.read_bytes() == b"\xff [redacted]\n"
