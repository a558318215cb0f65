"""Checks spread over the workers of pytest-xdist."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("xdist")

SCENARIOS = """
import os
class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal): return experiment.run(pid=os.getpid())
    @requirement("DRAIN-1")
    def test_one(self, evidence, facts): facts(pid=evidence.pid, bad="\\udc80")
    @requirement("DRAIN-2")
    def test_two(self, evidence): assert False, "lost \\udc80"

class TestOther:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): return experiment.run(pid=os.getpid())
    @requirement("EXIT-1")
    def test_one(self, evidence): raise Inconclusive("nothing in flight")
    @requirement("EXIT-2")
    def test_two(self, evidence): pass
"""


def test_verdicts_come_back_from_workers(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run_apart("-n", "2")
    assert result.ret == 1
    assert inner.verdicts() == {
        "drain.TestStop[SIGTERM]::test_one": "pass",
        "drain.TestStop[SIGTERM]::test_two": "fail",
        "drain.TestStop[SIGINT]::test_one": "pass",
        "drain.TestStop[SIGINT]::test_two": "fail",
        "drain.TestOther::test_one": "inconclusive",
        "drain.TestOther::test_two": "pass",
    }
    assert not inner.results()["aborted"]
    assert inner.results()["versions"]["target"] == {"python": "3.99"}
    session = json.loads((inner.evidence() / "session.json").read_text())
    assert session["digest"] == inner.results()["target"]["digest"] is not None
    folders = {path.name for path in inner.evidence().iterdir() if path.is_dir()}
    assert folders == {"drain.TestStop[SIGTERM]", "drain.TestStop[SIGINT]", "drain.TestOther"}  # each one run once
    assert (inner.evidence() / "session.json").exists()
    assert len(list((inner.report / "evidence").iterdir())) == 1
    result.stdout.fnmatch_lines(["standin does not keep DRAIN-2. EXIT-1 could not be judged everywhere."])


def test_every_worker_running_everything_is_refused(inner):
    inner.scenarios(SCENARIOS)
    result = inner.run("--dist=each", "--tx=2*popen")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --dist=each would run every experiment*"])


def test_a_worker_that_dies_is_an_error(inner):
    inner.scenarios("""
        import os
        class TestDies:
            @requirement("DRAIN-1")
            def test_it(self): os._exit(1)
        class TestLives:
            @requirement("DRAIN-2")
            def test_it(self): pass
        """)
    result = inner.run_apart("-n", "2")
    assert result.ret == 1
    assert inner.results()["aborted"]
    verdicts = {v["check"]: v for v in inner.results()["verdicts"]}
    dead = verdicts["TestDies::test_it"]
    assert (dead["requirement"], dead["verdict"]) == ("-", "error")
    assert "died" in dead["summary"]
    assert verdicts["test_it"]["verdict"] == "pass"


def test_workers_with_ids_of_their_own_count_what_is_left_out(inner):
    inner.scenarios(SCENARIOS)
    workers = ["--tx", "popen//id=foo", "--tx", "popen//id=bar", "--dist=loadscope"]
    inner.run_apart(*workers, "-k", "EXIT-2", "--gate=must")
    assert inner.results()["deselected"] == 5
    assert inner.results()["gate"]["passed"]
    assert (inner.evidence() / "session.json").exists()


def test_a_run_of_which_no_worker_told_the_selection_is_incomplete(inner):
    inner.scenarios(SCENARIOS)
    inner.write(
        "conftest.py",
        """
        import pytest
        @pytest.hookimpl(trylast=True)
        def pytest_configure_node(node): node.workerinput["drainproof_counts"] = False
        """,
    )
    assert inner.run_apart("-n", "1", "-k", "EXIT-2", "--gate=must").ret == 1
    assert inner.results()["overall"] == "incomplete"
    assert inner.results()["gate"]["reasons"][-1].startswith("no worker of pytest-xdist told which checks")
