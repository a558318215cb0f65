"""The in-toto Statement: as the specification has it, and never better than the run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from drainproof.verdict import Bundle, Results
from drainproof_reports import statement
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as Predicate
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from tests.reports.test_reports import RESULTS, VERDICT

DIGEST = {"sha256": "a" * 64, "of": "the manifest as resolved and 3 files of the target folder"}
JUDGED = replace(
    RESULTS,
    target={"name": "mine", "folder": "/srv/mine", "manifest": {"policy": {"grace_period": 5.0}}, "digest": DIGEST},
    specification="2026.11",
    bundle=Bundle(folder="evidence/2026-11-20_15-40-11", digests="b" * 64),
)


def verdicts(*outcomes: str) -> Results:
    return replace(JUDGED, verdicts=tuple(replace(VERDICT, verdict=o, check=f"test_{o}") for o in outcomes))


def document(results: Results) -> dict:
    found = statement.document(results, results_json=b"{}")
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_RUN_ID", "GITHUB_REPOSITORY", "CI_JOB_URL"):
        monkeypatch.delenv(name, raising=False)


def test_it_is_a_statement_with_the_test_result_predicate(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the published bindings, which refuse a field that the specification does not have."""
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab.example/job/1")
    content = document(verdicts("pass", "note", "fail"))
    message = json_format.ParseDict(content, StatementMessage())
    Statement.copy_from_pb(message).validate()
    predicate = json_format.ParseDict(content["predicate"], Predicate())
    assert json_format.MessageToDict(predicate) == {k: v for k, v in content["predicate"].items() if v}
    assert (message.type, message.predicate_type) == (
        "https://in-toto.io/Statement/v1",
        "https://in-toto.io/attestation/test-result/v0.1",
    )
    assert dict(message.subject[0].digest) == {"sha256": "a" * 64}
    for each in predicate.configuration:
        assert each.uri or each.digest, "a ResourceDescriptor has one of uri, digest and content"


@pytest.mark.parametrize(
    ("outcomes", "deselected", "result"),
    [
        (["pass", "unsupported"], 0, "PASSED"),
        (["pass", "note"], 0, "WARNED"),
        (["pass", "fail"], 0, "FAILED"),
        (["pass", "inconclusive"], 0, "FAILED"),
        (["pass", "error"], 0, "FAILED"),
        (["pass"], 1, "FAILED"),
        (["unsupported"], 0, "FAILED"),
        ([], 0, "FAILED"),
    ],
)
def test_what_is_not_known_does_not_look_like_what_holds(outcomes: list[str], deselected: int, result: str) -> None:
    predicate = document(replace(verdicts(*outcomes), deselected=deselected))["predicate"]
    assert predicate["result"] == result
    red = [o for o in outcomes if o in ("fail", "inconclusive", "error")]
    assert predicate["failedTests"] == [f"DRAIN-1 {VERDICT.scenario}::test_{o}" for o in red]
    assert predicate["passedTests"] == [f"DRAIN-1 {VERDICT.scenario}::test_pass"] * ("pass" in outcomes)
    assert predicate["warnedTests"] == [f"DRAIN-1 {VERDICT.scenario}::test_note"] * ("note" in outcomes)


def test_what_it_was_judged_by() -> None:
    found = {each["name"]: each for each in document(verdicts("pass"))["predicate"]["configuration"]}
    assert found["specification"]["uri"] == "urn:drainproof:specification:2026.11"
    assert found["policy"]["digest"]["sha256"] == hashlib.sha256(b'{"grace_period":5.0}').hexdigest()
    assert found["manifest"]["digest"]["sha256"] == hashlib.sha256(b'{"policy":{"grace_period":5.0}}').hexdigest()
    assert found["results.json"]["digest"]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert found["evidence/2026-11-20_15-40-11"]["digest"] == {"sha256": "b" * 64}


def test_the_run_of_ci_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "url" not in document(verdicts("pass"))["predicate"]
    monkeypatch.setenv("GITHUB_RUN_ID", "17")
    monkeypatch.setenv("GITHUB_REPOSITORY", "me/mine")
    assert document(verdicts("pass"))["predicate"]["url"] == "https://github.com/me/mine/actions/runs/17"


@pytest.mark.parametrize("without", [{"aborted": True}, {"target": {**JUDGED.target, "digest": None}}])
def test_where_there_is_nothing_to_attest_there_is_no_file(tmp_path: Path, without: dict) -> None:
    (tmp_path / "results.json").write_text("{}")
    file = tmp_path / "statement.json"
    statement.write(verdicts("pass"), file, results_json=tmp_path / "results.json")
    assert json.loads(file.read_text())["predicate"]["result"] == "PASSED"
    statement.write(replace(verdicts("pass"), **without), file, results_json=tmp_path / "results.json")
    assert not file.exists()
