"""Scenarios that run several times, and the failures of an earlier run that run again."""

from __future__ import annotations

import json
import shlex

import pytest

SCENARIOS = """
class TestStop:
    "{{stop_signal}} to the target."
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal):
        TestStop.runs = getattr(TestStop, "runs", 0) + 1
        return experiment.run(number=TestStop.runs)
    @requirement("DRAIN-1")
    def test_one(self, evidence, facts):
        facts(accepted_before_signal=10, lost=0)
        assert True {also}
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass

class TestWithoutExperiment:
    @requirement("EXIT-1")
    def test_it(self): pass

def test_a_function(experiment, facts):
    experiment.run()
test_a_function.drainproof_requirement = "EXIT-2"
"""
TWO = """
class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal): return experiment.run(signal=stop_signal)
    @requirement("DRAIN-1")
    def test_one(self, evidence): assert {}, "lost"
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass

class TestOther:
    @requirement("EXIT-1")
    def test_it(self): {}
"""
STOPS = [f"drain.TestStop[{signal}-r{number}]" for signal in ("SIGTERM", "SIGINT") for number in (1, 2, 3)]


@pytest.fixture
def thrice(inner):
    inner.scenarios(SCENARIOS.format(also=""))
    assert inner.run("--repeat=3", "-p", "no:randomly").ret == 0
    return inner


def test_each_run_is_a_scenario_with_evidence_of_its_own(thrice):
    assert list(thrice.verdicts()) == [
        *(f"{scenario}::{check}" for scenario in STOPS for check in ("test_one", "test_two")),
        *(f"drain.TestWithoutExperiment[r{number}]::test_it" for number in (1, 2, 3)),
        *(f"drain.test_a_function[r{number}]::test_a_function" for number in (1, 2, 3)),
    ]
    verdicts = thrice.results()["verdicts"]
    assert [v["repetition"] for v in verdicts[:6]] == [1, 1, 2, 2, 3, 3]
    assert verdicts[2]["title"] == "SIGTERM to the target, run 2"
    numbers = [json.loads((thrice.evidence() / scenario / "evidence.json").read_text())["number"] for scenario in STOPS]
    assert numbers == [1, 2, 3, 4, 5, 6]


def test_what_it_says_at_the_end(thrice):
    found = thrice.results()["repetitions"]
    assert found["repeat"] == 3
    assert [(each["requirement"], each["held"], each["runs"]["of"]) for each in found["requirements"]] == [
        ("DRAIN-1", 6, 6),
        ("DRAIN-2", 6, 6),
        ("EXIT-1", 3, 3),
        ("EXIT-2", 3, 3),
    ]
    assert found["requirements"][0]["counted"]["of"] == 60


def test_a_flip_is_shown(inner):
    inner.scenarios(SCENARIOS.format(also="and evidence.number != 2"))
    result = inner.run("--repeat=3")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FLIPS  DRAIN-1  held in 2 of 3 runs of SIGTERM to the target"])


def test_the_command_of_a_run_repeats_the_scenario_once(thrice):
    repeat = thrice.results()["verdicts"][2]["repeat"]
    assert repeat == "pytest --target=server -k 'drain.TestStop[SIGTERM]'"
    thrice.run(*shlex.split(repeat)[2:])
    assert list(thrice.verdicts()) == [f"drain.TestStop[SIGTERM]::test_{name}" for name in ("one", "two")]
    thrice.run(*shlex.split(repeat)[2:], "--repeat=2")
    assert {v["scenario"] for v in thrice.results()["verdicts"]} == {STOPS[0], STOPS[1]}


def test_saved_runs_are_judged_again_one_by_one(thrice):
    live = thrice.verdicts()
    again = ["--evidence=drainproof-report", "--report-dir=again"]
    assert thrice.run(*again, target=False).ret == 0
    thrice.report = thrice.path / "again"
    assert thrice.verdicts() == live
    assert thrice.results()["deselected"] == 0
    verdict = thrice.results()["verdicts"][2]
    assert verdict["repeat"] == "pytest --evidence=drainproof-report -k 'drain.TestStop[SIGTERM-r2]'"
    thrice.run(*shlex.split(verdict["repeat"])[1:], "--report-dir=again", target=False)
    assert {v["scenario"] for v in thrice.results()["verdicts"]} == {STOPS[1]}


def test_what_a_selection_leaves_out_of_a_repeated_run(inner):
    inner.scenarios(SCENARIOS.format(also=""))
    inner.run("--repeat=3", "-k", "DRAIN-1 or EXIT-1")
    assert (len(inner.verdicts()), inner.results()["deselected"]) == (9, 9)


def test_with_xdist(inner):
    pytest.importorskip("xdist")
    inner.scenarios(SCENARIOS.format(also=""))
    assert inner.run_apart("-n", "2", "--repeat=2").ret == 0
    assert {v["scenario"] for v in inner.results()["verdicts"]} >= {
        "drain.TestStop[SIGINT-r1]",
        "drain.test_a_function[r2]",
    }
    assert inner.results()["repetitions"]["repeat"] == 2


def test_a_repeated_run_is_held_to_a_baseline_of_single_runs(inner):
    inner.scenarios(SCENARIOS.format(also=""))
    inner.run("--report-dir=before")
    assert inner.run("--repeat=2", "--gate=no-regression:before").ret == 0
    inner.scenarios(SCENARIOS.format(also="and evidence.number != 2"))
    assert inner.run("--repeat=2", "--gate=no-regression:before").ret == 1
    [reason] = inner.results()["gate"]["reasons"]
    assert reason.startswith("DRAIN-1 does not hold, and held in the baseline, in drain.TestStop[SIGTERM]: ")


def test_a_known_failure_is_known_in_every_run(inner):
    inner.scenarios(SCENARIOS.format(also="and evidence.number > 2"))
    inner.write(
        "known.toml", '[[failure]]\nid="DRAIN-1 drain.TestStop[SIGTERM]"\nreason="r"\nlink="https://x.example"\n'
    )
    assert inner.run("--repeat=2", "--gate=must", "--known-failures=known.toml").ret == 0
    assert inner.results()["counts"]["fail"] == 2


@pytest.mark.parametrize("other", ["raise Inconclusive('not today')", "1 / 0"])
def test_a_known_failure_hides_nothing_that_was_not_judged_in_another_run(inner, other):
    inner.scenarios(f"""
        class TestStop:
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment):
                TestStop.runs = getattr(TestStop, "runs", 0) + 1
                return experiment.run(number=TestStop.runs)
            @requirement("DRAIN-1")
            def test_one(self, evidence):
                if evidence.number == 2:
                    {other}
                assert False, "lost"
        """)
    inner.write("known.toml", '[[failure]]\nid="DRAIN-1"\nreason="r"\nlink="https://x.example"\n')
    assert inner.run("--repeat=2", "--gate=must", "--known-failures=known.toml").ret == 1
    [reason] = inner.results()["gate"]["reasons"]
    assert reason.startswith(("DRAIN-1 is inconclusive", "DRAIN-1 could not be judged"))


def test_a_rule_that_did_not_apply_in_one_run_was_judged_in_the_others(inner):
    inner.scenarios("""
        class TestStop:
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment):
                TestStop.runs = getattr(TestStop, "runs", 0) + 1
                return experiment.run(number=TestStop.runs)
            @requirement("DRAIN-1")
            def test_one(self, evidence):
                if evidence.number == 2:
                    raise Unsupported("no engine this time")
        """)
    assert inner.run("--repeat=3", "--gate=must").ret == 0
    assert inner.results()["gate"]["passed"]


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "10001", "٣"])
def test_a_number_that_is_none_is_a_usage_error(inner, value):
    inner.scenarios(SCENARIOS.format(also=""))
    result = inner.run(f"--repeat={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --repeat={value}: expected a number from 1 to 10000"])


def test_once_is_no_repetition(inner):
    inner.scenarios(SCENARIOS.format(also=""))
    inner.run("--repeat=1")
    assert "drain.TestStop[SIGTERM]::test_one" in inner.verdicts()
    assert "repetitions" not in inner.results()


def test_saved_evidence_says_itself_how_often_it_was_run(thrice):
    result = thrice.run("--evidence=drainproof-report", "--repeat=3", target=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --repeat has no meaning with --evidence*"])


@pytest.mark.parametrize("where", ["drainproof-report", "drainproof-report/results.json"])
def test_only_what_was_red_runs_again(inner, where):
    inner.scenarios(TWO.format("evidence.signal == 'SIGINT'", "raise Inconclusive('nothing in flight')"))
    inner.run()
    inner.scenarios(TWO.format("True", "pass"))
    assert inner.run(f"--rerun-failed={where}").ret == 0
    assert inner.verdicts() == {"drain.TestStop[SIGTERM]::test_one": "pass", "drain.TestOther::test_it": "pass"}
    assert (inner.results()["deselected"], inner.results()["overall"]) == (3, "incomplete")
    inner.run("--evidence=drainproof-report", "--report-dir=again", target=False)
    inner.report = inner.path / "again"
    assert inner.results()["deselected"] == 3


def test_what_was_red_runs_again_in_workers_and_several_times(inner):
    pytest.importorskip("xdist")
    inner.scenarios(TWO.format("evidence.signal == 'SIGINT'", "pass"))
    inner.run("--repeat=2")
    inner.run_apart("-n", "2", "--rerun-failed=drainproof-report", "--repeat=3")
    assert set(inner.verdicts()) == {f"drain.TestStop[SIGTERM-r{number}]::test_one" for number in (1, 2, 3)}


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_what_is_not_there_any_more_is_named(inner, workers):
    inner.scenarios(TWO.format("False", "assert False"))
    inner.run()
    inner.scenarios(TWO.format("True", "pass").replace("TestStop", "TestStops").replace("test_it", "test_exit"))
    result = inner.run_apart("--rerun-failed=drainproof-report", *workers)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines([
        "WARNING: --rerun-failed=drainproof-report: drain.TestOther test_it was red, and there is no such check now.",
        '*: drain.TestStop?SIGINT? test_one was red, and there is no such check now. Did you mean "drain.TestStops*"?',
        "WARNING: --rerun-failed=drainproof-report: drain.TestStop?SIGTERM? test_one was red*",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nowhere", "there is no such folder or file"),
        ("green", "no verdict in it is red, so there is nothing to run again"),
        ("aborted", "no verdict in it is red, so the run was aborted: run all of it again"),
    ],
)
def test_there_is_nothing_to_run_again(inner, value, said):
    inner.scenarios(TWO.format("True", "pass"))
    inner.run("--report-dir=green")
    inner.scenarios(TWO.format("True", "pytest.exit('enough')"))
    inner.run("--report-dir=aborted")
    result = inner.run(f"--rerun-failed={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--rerun-failed={value}: " in result.stderr.str()
    assert said in result.stderr.str()
