"""Secrets planted everywhere in a real run: not a byte of what it leaves behind, or shows, has one of them."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

SERVER = Path(__file__).parent / "servers" / "leaky.py"

SECRETS = {
    "env by name": 'hard "tok\\en/ with+all & sörts 1',
    "env marked": "marked-4711-value",
    "env inherited": "inherited-pa55word",
    "env in lines": "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END KEY-----",
    "bearer": "bearer-0123456789abcdef",
    "header marked": "header-marked-77",
    "password in url": "p@ss/wörd",
    "argument": "argument-key-abcdef",
    "query of the readiness path": "readiness-key-0815",
    "in a script": "script-key-4242",
    "known failures": "known-pass-1717",
}
REPORTS = ("drainproof-report", "again")
NOT_ONE = "true"
"""The value of a variable that is named like a secret."""

MANIFEST = f"""
name = "leaky"
[start]
command = ["{{python}}", "leaky.py", "{{port}}", "--api-key", "{SECRETS["argument"]}",
    "export SCRIPT_KEY={SECRETS["in a script"]}; exec serve"]
deadline = 30
[start.env]
HARD_TOKEN = {json.dumps(SECRETS["env by name"], ensure_ascii=False)}
MARKED = "{SECRETS["env marked"]}"
SIGNING_PRIVATE_KEY = {json.dumps(SECRETS["env in lines"])}
DATABASE_URL = "postgres://app:{quote(SECRETS["password in url"], safe="")}@db.internal/main"
FLAG_TOKEN = "{NOT_ONE}"
[health]
readiness = "/ready?api_key={SECRETS["query of the readiness path"]}"
[[request]]
path = "/right"
headers = {{ Authorization = "Bearer {SECRETS["bearer"]}", X-Marked = "{SECRETS["header marked"]}" }}
expect = {{ contains = "{SECRETS["bearer"]}" }}
[[request]]
path = "/wrong"
duration = 1.0
headers = {{ Authorization = "Bearer {SECRETS["bearer"]}", X-Marked = "{SECRETS["header marked"]}" }}
expect = {{ contains = "{SECRETS["bearer"]}" }}
[policy]
grace_period = 5
[secrets]
names = ["marked", "x-marked"]
"""

KNOWN = f"""
[[failure]]
id = "EXIT-3"
reason = "see https://me:{SECRETS["known failures"]}@example.com/, {SECRETS["env inherited"]}"
link = "https://me:{SECRETS["known failures"]}@example.com/1"
[[failure]]
id = "EXIT-1"
reason = "not judged, {SECRETS["bearer"]}"
link = "https://example.com/?{SECRETS["argument"]}"
"""

CHECKS = """
import os
import pytest
from drainproof.scenario import at_steady_state, once, requirement, signal, start_method, steady

SECRET = os.environ["INHERITED_PASSWORD"]

class TestLeak:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment):
        load = [steady(rate=20), once(4, request="GET /wrong")]
        return experiment.run(load=load, faults=[at_steady_state(signal("SIGTERM"))], given=[start_method("spawn")])

    @requirement("DRAIN-1")
    def test_right_answers_are_told_from_wrong_ones(self, evidence, facts):
        right = [j.record for j in evidence.requests if j.record.right]
        wrong = [j.record for j in evidence.requests if j.record.wrong]
        facts(asked=SECRET, right=bool(right), wrong=bool(wrong))
        facts.details(SECRET)
        assert right and wrong and all(r.request == "GET /right" for r in right)

    @requirement("EXIT-3")
    def test_an_assertion(self, evidence, facts):
        print("captured", SECRET)
        facts(survivors=evidence.survivors, hello=[r["argv"] for r in evidence.shim.interpreters])
        assert not evidence.survivors, f"left: {SECRET}\\n{evidence.output.tail(40)}"

    @requirement("EXIT-2")
    def test_an_exception(self, evidence):
        password = SECRET
        raise RuntimeError(f"the {password} is bad")
"""


def forms(secret: str) -> dict[str, bytes]:
    """How a careless program shows a secret; each line of one with lines."""
    shown = {}
    for line in secret.split("\n"):
        shown |= {
            f"{line} raw": line.encode(),
            f"{line} json": json.dumps(line)[1:-1].encode(),
            f"{line} url": quote(line, safe="").encode(),
            f"{line} base64": base64.b64encode(line.encode()).rstrip(b"="),
            f"{line} basic": base64.b64encode(f"u:{line}".encode())[4:-4],
        }
    return shown


def leaks(content: bytes) -> list[str]:
    return [name for secret in SECRETS.values() for name, form in forms(secret).items() if form in content]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[bytes]]:
    """A run of a target that leaks what it can, with checks that do so as well."""
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "target").mkdir()
    shutil.copy(SERVER, folder / "target" / "leaky.py")
    (folder / "target" / "drainproof.toml").write_text(MANIFEST, encoding="utf-8")
    (folder / "test_leak.py").write_text(CHECKS, encoding="utf-8")
    (folder / "known.toml").write_text(KNOWN, encoding="utf-8")
    asked = ("--gate=must", "--known-failures=known.toml")
    return folder, pytest_in(folder, "--target=target", "test_leak.py", *asked, "-rA", "-vv", "--showlocals")


def pytest_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *args]


def environment() -> dict[str, str]:
    inherited = {**os.environ, "INHERITED_PASSWORD": SECRETS["env inherited"], "PYTHONIOENCODING": "utf-8"}
    for name in ("PYTEST_ADDOPTS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        inherited.pop(name, None)
    return inherited


def pytest_in(folder: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    command = pytest_command(*args)
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, timeout=180, check=False)


def verdicts(report: Path) -> dict[str, tuple[str, str]]:
    found = json.loads((report / "results.json").read_text())["verdicts"]
    return {v["check"]: (v["verdict"], v["summary"]) for v in found}


def test_no_file_and_no_line_has_a_secret(run: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    folder, done = run
    report = folder / "drainproof-report"
    files = [path for path in report.rglob("*") if path.is_file()]
    found = {str(path.relative_to(report)): leaks(path.read_bytes()) for path in files}
    assert {name: leaked for name, leaked in found.items() if leaked} == {}
    assert leaks(done.stdout + done.stderr) == []
    for name in ("experiment.json", "timeline.jsonl", "output.jsonl", "ledger.jsonl", "reports.jsonl", "target.json"):
        assert any(path.name == name for path in files), f"nothing was looked at in {name}"


def test_what_was_hidden_had_been_there(run: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    """Else nothing would be shown by its absence."""
    folder, done = run
    found = verdicts(folder / "drainproof-report")
    assert found.pop("test_right_answers_are_told_from_wrong_ones")[0] == "pass", done.stdout.decode()
    assert found == {
        "test_an_assertion": ("fail", "left: [redacted]"),
        "test_an_exception": ("error", "RuntimeError in the check: the [redacted] is bad"),
    }, done.stdout.decode()
    evidence = next((folder / "drainproof-report" / "evidence").glob("*/test_leak*"))
    output = [json.loads(line).get("text", "") for line in (evidence / "output.jsonl").read_text().splitlines()]
    assert any(text.startswith("HARD_TOKEN [redacted]") for text in output)
    assert any(text.startswith("MARKED [redacted]") for text in output)
    assert "".join(output).count("split: [redacted] done") == 1
    assert any("RuntimeError: cannot say goodbye with [redacted] and [redacted]" in text for text in output)
    assert sum(text.startswith("GET /wrong [redacted] [redacted]") for text in output)
    assert "[redacted]" in (evidence / "shim" / "reports.jsonl").read_text()
    survivors = next(
        event
        for line in (evidence / "timeline.jsonl").read_text().splitlines()
        if (event := json.loads(line))["event"] == "survivors"
    )
    assert "[redacted]" in json.dumps(survivors)


def test_what_is_said_of_known_failures_and_the_gate_is_there(
    run: tuple[Path, subprocess.CompletedProcess[bytes]],
) -> None:
    results = json.loads((run[0] / "drainproof-report" / "results.json").read_text())
    known = next(v["known"] for v in results["verdicts"] if v["requirement"] == "EXIT-3")
    assert known["reason"] == "see https://me:[redacted]@example.com/, [redacted]"
    assert results["stale"][0]["known"]["link"] == "https://example.com/?[redacted]"
    assert any("[redacted]" in remark for remark in results["gate"]["remarks"]), results["gate"]


@pytest.mark.parametrize("option", ["--gate=no-regression:", "--rerun-failed=", "--known-failures="])
def test_an_option_that_is_refused_is_told_without_secrets(tmp_path: Path, option: str) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "drainproof.toml").write_text(MANIFEST, encoding="utf-8")
    done = pytest_in(tmp_path, "--target=target", f"{option}{SECRETS['env inherited']}/nothing")
    assert done.returncode == 4
    assert b"[redacted]/nothing" in done.stderr
    assert leaks(done.stdout + done.stderr) == []


def test_a_word_that_says_nothing_stays_where_it_is(run: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    evidence = next((run[0] / "drainproof-report" / "evidence").glob("*/test_leak*"))
    assert '"right":true' in (evidence / "ledger.jsonl").read_text().replace(" ", "")
    assert "FLAG_TOKEN true" in (evidence / "output.jsonl").read_text()
    environment = json.loads((evidence / "experiment.json").read_text())["target"]["environment"]
    assert environment["FLAG_TOKEN"] == "[redacted]", "hidden where it is declared"


def test_the_evidence_gives_the_same_verdicts_again(run: tuple[Path, subprocess.CompletedProcess[bytes]]) -> None:
    folder, _ = run
    before = verdicts(folder / "drainproof-report")
    done = pytest_in(folder, "--evidence=drainproof-report", "--report-dir=again", "test_leak.py")
    assert verdicts(folder / "again") == before, done.stdout.decode()
    digests = [json.loads((folder / name / "results.json").read_text())["target"]["digest"] for name in REPORTS]
    assert digests[0] == digests[1]
    assert digests[0]["of"] == "the manifest as resolved and 2 files of the target folder"
    assert not any(leaks(path.read_bytes()) for path in (folder / "again").rglob("*") if path.is_file())


def test_who_writes_hides_at_once(run: tuple[Path, subprocess.CompletedProcess[bytes]], tmp_path: Path) -> None:
    """A run that is killed has nobody who goes through its files: what we and the keeper write has no secret anyway."""
    folder, _ = run
    command = pytest_command("--target=target", "test_leak.py", f"--report-dir={tmp_path / 'killed'}")
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline, serves = time.monotonic() + 120, False
        while not serves and process.poll() is None and time.monotonic() < deadline:
            timelines = (tmp_path / "killed").glob("evidence/*/test_leak*/timeline.jsonl")
            serves = any('"event":"serving"' in path.read_text() for path in timelines)
            time.sleep(0.01)
        process.kill()
    assert serves
    files = {path.name: path.read_bytes() for path in (tmp_path / "killed").glob("evidence/*/test_leak*/*.json*")}
    assert {"experiment.json", "timeline.jsonl", "probes.jsonl", "output.jsonl"} <= files.keys()
    assert {name: leaks(content) for name, content in files.items() if leaks(content)} == {}
