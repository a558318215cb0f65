"""Saved evidence, judged again."""

from __future__ import annotations

import json

import pytest

SCENARIOS = """
class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal):
        return experiment.run(stop_signal=stop_signal, lost=0 if stop_signal == "SIGTERM" else 3)
    @requirement("DRAIN-1")
    def test_one(self, evidence, facts):
        facts(lost=evidence.lost)
        assert not evidence.lost, "lost"
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass

class TestNever:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): return experiment.run(raises="NotReadyInTime", says="not ready")
    @requirement("START-1")
    def test_one(self, evidence): pass

class TestUnsupported:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): raise Unsupported("not here")
    @requirement("START-2")
    def test_one(self, evidence): pass
"""


def judged(inner) -> dict[str, tuple]:
    keys = ("verdict", "summary", "details", "facts", "title", "level")
    return {f"{v['scenario']}::{v['check']}": tuple(v[k] for k in keys) for v in inner.results()["verdicts"]}


@pytest.mark.parametrize("where", ["drainproof-report", "drainproof-report/evidence/*"])
def test_the_same_verdicts_without_the_server(inner, where):
    inner.scenarios(SCENARIOS)
    assert inner.run().ret == 1
    live = judged(inner)
    assert len(live) == 6
    (inner.target / "drainproof.toml").unlink()
    folder = next(inner.path.glob(where))
    result = inner.run(f"--evidence={folder.relative_to(inner.path)}", "--report-dir=again", target=False)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["drainproof: judging standin by the evidence in *"])
    inner.report = inner.path / "again"
    assert judged(inner) == live
    assert inner.results()["versions"]["target"] == {"python": "3.99"}
    assert not (inner.report / "evidence").exists()
    for verdict in inner.results()["verdicts"]:
        if verdict["evidence"]:
            assert (inner.report / verdict["evidence"] / "evidence.json").exists()
            assert verdict["repeat"].startswith("pytest --evidence=drainproof-report")


def test_only_what_was_run_is_judged_again(inner):
    inner.scenarios(SCENARIOS)
    inner.run("-k", "SIGTERM and test_one")
    inner.scenarios(
        SCENARIOS.replace("class TestNever", "class TestNew")
        + "\n    @requirement('EXIT-1')\n    def test_new(self): 1 / 0\n"
    )
    result = inner.run("--evidence=drainproof-report", target=False)
    assert result.ret == 0
    assert list(inner.verdicts()) == ["drain.TestStop[SIGTERM]::test_one"]


def test_a_saved_session_that_is_damaged_is_a_usage_error(inner):
    inner.scenarios(SCENARIOS)
    inner.run()
    session = inner.evidence() / "session.json"
    for content in ("{", "[]", json.dumps({"format": 99, "checks": {}}), json.dumps({"format": 1})):
        session.write_text(content)
        result = inner.run("--evidence=drainproof-report", target=False)
        assert result.ret == pytest.ExitCode.USAGE_ERROR, content
        assert "session.json" in result.stderr.str()
        assert "Traceback" not in result.stderr.str()


def test_the_newest_run_of_a_report_folder_is_taken(inner):
    inner.scenarios(SCENARIOS)
    inner.run()
    inner.run("-k", "TestNever")
    inner.run("--evidence=drainproof-report", target=False)
    assert list(inner.verdicts()) == ["drain.TestNever::test_one"]
