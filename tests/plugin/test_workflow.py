"""A run inside GitHub Actions: annotations, the summary of the step, and no command by anybody else."""

from __future__ import annotations

import json
import re

SCENARIO = """
class TestIt:
    @requirement("DRAIN-1")
    def test_lost(self, facts):
        facts.details("::set-env name=PATH::/evil\\n  ::warning::x")
        assert False, "::error::lost it"
    @requirement("DRAIN-2")
    def test_broken(self):
        print("::add-mask::printed\\r::add-mask::behind a carriage return")
        raise RuntimeError("a text of\\n::error::several\\n##[command]lines")
    @requirement("DRAIN-5")
    def test_note(self): assert False, "too late"
    @requirement("EXIT-1")
    def test_good(self): pass
"""


def commands(output: str) -> list[str]:
    """As the runner sees them (actions/runner, ActionCommand.cs)."""
    return [line for line in re.split(r"[\r\n]", output) if line.lstrip().startswith("::") or "##[" in line]


def test_in_github_actions(inner, monkeypatch):
    step = inner.path / "step.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    inner.scenarios(SCENARIO)
    done = inner.run("-rA")
    told = commands(done.stdout.str() + done.stderr.str())
    assert [re.match("::(.*?)::", line)[1] for line in told] == [
        "error title=drainproof%3A DRAIN-1 does not hold",
        "error title=drainproof%3A DRAIN-2 error",
        "warning title=drainproof%3A DRAIN-5 does not hold (SHOULD)",
    ]
    assert step.read_text() == (inner.report / "summary.md").read_text() + "\n"


def test_elsewhere(inner, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    inner.scenarios(SCENARIO)
    done = inner.run()
    assert "title=drainproof" not in done.stdout.str()


def test_the_statement_is_there_when_the_run_has_ended(inner):
    inner.scenarios("""
        import os
        class TestIt:
            @requirement("DRAIN-1")
            def test_one(self): pass
        class TestLater:
            @requirement("DRAIN-2")
            def test_two(self):
                files = os.listdir("drainproof-report")
                assert "badge.svg" in files and "statement.json" not in files
        """)
    inner.run("-p", "no:randomly")
    statement = json.loads((inner.report / "statement.json").read_text())
    assert statement["predicate"]["result"] == "PASSED"
    assert statement["subject"][0]["digest"]["sha256"] == inner.results()["target"]["digest"]["sha256"]
    assert ">conforming<" in (inner.report / "badge.svg").read_text()
    inner.run("-k", "TestIt")
    statement = json.loads((inner.report / "statement.json").read_text())
    assert len(statement["predicate"]["passedTests"]) == 1
