"""How many checks a run left out, in whatever way they were left out."""

from __future__ import annotations

import json

import pytest

SCENARIOS = """
class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal): return experiment.run()
    @requirement("DRAIN-1")
    def test_one(self, evidence): pass
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass
    def test_that_is_no_check(self): pass

class TestNoCase:
    @requirement("START-2")
    def test_one(self, experiment, fail_point): pass

class TestOther:
    @requirement("EXIT-1")
    def test_one(self): pass
    @requirement("EXIT-2")
    @pytest.mark.slow
    def test_two(self): pass
"""
EVERYTHING = 6
"""Two checks for each of two signals, and two more."""


def left_out(inner) -> int:
    return inner.results()["deselected"]


@pytest.fixture
def scenarios(inner):
    inner.scenarios(SCENARIOS)
    inner.scenarios("class TestMore:\n    @requirement('EXIT-3')\n    def test_one(self): pass\n", module="more")
    return inner


@pytest.mark.parametrize(
    ("args", "judged"),
    [
        ([], EVERYTHING + 1),
        (["-k", "SIGTERM"], 2),
        (["-k", "DRAIN-1"], 2),
        (["-m", "slow"], 1),
        (["--deselect=standin_scenarios/drain.py::TestOther"], EVERYTHING - 1),
        (["standin_scenarios/drain.py::TestStop"], 4),
        (["standin_scenarios/drain.py::TestStop", "standin_scenarios/drain.py::TestStop", "-k", "SIGINT"], 2),
        (["standin_scenarios/more.py"], 1),
        (["standin_scenarios/drain.py::TestOther::test_one", "standin_scenarios/more.py"], 2),
    ],
)
def test_each_way_to_select(scenarios, args, judged):
    assert scenarios.run(*args, "-W", "ignore").ret == 0
    results = scenarios.results()
    assert len(results["verdicts"]) == judged
    assert results["deselected"] == EVERYTHING + 1 - judged
    assert results["overall"] == ("incomplete" if args else "conforming")


def test_the_files_that_lf_skips_were_left_out_as_well(scenarios):
    broken = SCENARIOS.replace('@requirement("EXIT-1")\n    def test_one(self): pass', (
        '@requirement("EXIT-1")\n    def test_one(self): assert False'
    ))  # fmt: skip
    scenarios.scenarios(broken)
    scenarios.run()
    scenarios.run("--lf")
    assert list(scenarios.verdicts()) == ["drain.TestOther::test_one"]
    assert left_out(scenarios) == EVERYTHING


def test_a_file_of_the_users_own_has_not_judged_the_rules_that_are_there_anyway(scenarios):
    scenarios.write(
        "tests/test_mine.py",
        """
        from standin import requirement
        class TestMine:
            @requirement("EXIT-1")
            def test_one(self): pass
            @requirement("EXIT-2")
            def test_two(self): pass
        """,
    )
    scenarios.run("tests")
    assert (len(scenarios.verdicts()), left_out(scenarios)) == (2, EVERYTHING + 1)
    scenarios.run("tests/test_mine.py::TestMine::test_one")
    assert (len(scenarios.verdicts()), left_out(scenarios)) == (1, EVERYTHING + 2)


def test_a_module_that_cannot_be_imported_counts_as_one_check_at_least(scenarios):
    scenarios.scenarios("import nothing_of_that_name", module="broken")
    assert scenarios.run("standin_scenarios/more.py").ret == 0
    assert left_out(scenarios) == EVERYTHING + 1


def test_nothing_was_selected(scenarios):
    assert scenarios.run("-k", "nothing_at_all").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert left_out(scenarios) == EVERYTHING + 1


def test_judging_again_counts_what_was_left_out_once(scenarios):
    scenarios.run("-k", "SIGTERM")
    saved = json.loads((scenarios.evidence() / "session.json").read_text())
    assert saved["deselected"] == 5
    scenarios.run("--evidence=drainproof-report", "--report-dir=again", target=False)
    scenarios.report = scenarios.path / "again"
    assert left_out(scenarios) == 5
    scenarios.run("--evidence=drainproof-report", "--report-dir=again", "-k", "DRAIN-1", target=False)
    assert left_out(scenarios) == 6


def test_a_session_that_was_saved_before_this_was_counted(scenarios):
    scenarios.run("-k", "SIGTERM")
    file = scenarios.evidence() / "session.json"
    saved = json.loads(file.read_text())
    del saved["deselected"]
    file.write_text(json.dumps(saved))
    scenarios.run("--evidence=drainproof-report", "--report-dir=again", target=False)
    scenarios.report = scenarios.path / "again"
    assert left_out(scenarios) == 0


def test_with_xdist_the_workers_tell(scenarios):
    pytest.importorskip("xdist")
    assert scenarios.run_apart("-n", "2", "-k", "SIGTERM").ret == 0
    assert left_out(scenarios) == 5
    saved = json.loads((scenarios.evidence() / "session.json").read_text())
    assert saved["deselected"] == 5
    scenarios.run_apart("-n", "2", "--evidence=drainproof-report", "--report-dir=again", target=False)
    scenarios.report = scenarios.path / "again"
    assert left_out(scenarios) == 5
