from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

SCENARIO = """
class TestAll:
    '''All of them.'''

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment):
        return experiment.run(lost=3)

    @requirement("DRAIN-1")
    def test_holds(self, evidence, facts):
        facts(lost=0)
        facts.summary("it held")

    @requirement("DRAIN-2")
    def test_does_not_hold(self, evidence, facts):
        facts(lost=evidence.lost, accepted=24)
        facts.details("ERROR: lost it")
        assert evidence.lost == 0, "3 of 24 were lost"

    @requirement("DRAIN-5")
    def test_should_hold(self, evidence):
        assert False, "it was still ready"

    @requirement("DRAIN-6")
    def test_cannot_be_said(self, evidence):
        raise Inconclusive("nothing was in flight")

    @requirement("DRAIN-7")
    def test_does_not_apply(self, evidence):
        raise Unsupported("no endless request")

    @requirement("DRAIN-8")
    def test_breaks(self, evidence):
        raise ValueError("oops")
"""


def test_each_outcome(inner):
    inner.scenarios(SCENARIO)
    result = inner.run("-v")
    assert result.ret == 1
    assert inner.verdicts() == {
        "drain.TestAll::test_holds": "pass",
        "drain.TestAll::test_does_not_hold": "fail",
        "drain.TestAll::test_should_hold": "note",
        "drain.TestAll::test_cannot_be_said": "inconclusive",
        "drain.TestAll::test_does_not_apply": "unsupported",
        "drain.TestAll::test_breaks": "error",
    }
    result.stdout.fnmatch_lines(
        [
            "*standin_scenarios/drain.py::TestAll::test_holds PASS *",
            "*::test_does_not_hold FAIL *",
            "*::test_should_hold NOTE *",
            "*::test_cannot_be_said INCONCLUSIVE *",
            "*::test_does_not_apply UNSUPPORTED *",
            "*::test_breaks ERROR *",
        ]
    )


def summaries(inner) -> dict[str, str]:
    return {v["check"]: v["summary"] for v in inner.results()["verdicts"]}


def test_what_verdicts_say(inner):
    inner.scenarios(SCENARIO)
    inner.run()
    verdicts = {v["check"]: v for v in inner.results()["verdicts"]}
    assert verdicts["test_holds"]["summary"] == "it held"
    failed = verdicts["test_does_not_hold"]
    assert failed["summary"] == "3 of 24 were lost"
    assert failed["details"] == "ERROR: lost it"
    assert list(failed["facts"].items()) == [("lost", 3), ("accepted", 24)]
    assert failed["level"] == "MUST"
    assert failed["rule"].startswith("A request that arrives after the signal is served")
    assert verdicts["test_should_hold"]["level"] == "SHOULD"
    assert verdicts["test_breaks"]["summary"] == "ValueError in the check: oops"
    assert verdicts["test_holds"]["duration"] > 0


@pytest.mark.parametrize(
    ("assertion", "summary", "details"),
    [
        ("assert 1 == 2, 'one is not two'", "one is not two", ""),
        ("assert 1 == 2, 'one is not two\\nbecause'", "one is not two", "because"),
        ("raise AssertionError('by hand')", "by hand", ""),
        ("pytest.fail('by pytest')", "by pytest", ""),
        ("assert 1 == 2", "does not hold: one is two", "assert 1 == 2"),
        ("facts.summary('they differ'); assert 1 == 2", "they differ", "assert 1 == 2"),
        ("facts.summary('all is well'); assert 1 == 2, 'or not'", "or not", ""),
        ("assert 1 == 2, '\\udc80 \\x1b[31mred\\x00'", "\\udc80 \x1b[31mred\x00", ""),
    ],
)
def test_the_words_of_an_assertion(inner, assertion, summary, details):
    inner.scenarios(f"""
        class TestIt:
            @requirement("DRAIN-1")
            def test_one_is_two(self, facts):
                {assertion}
        """)
    result = inner.run()
    verdict = inner.results()["verdicts"][0]
    assert (verdict["verdict"], verdict["summary"], verdict["details"]) == ("fail", summary, details)
    assert "\x1b" not in result.stdout.str()


def test_measured_values_become_json(inner):
    inner.scenarios("""
        import pathlib, math
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self, facts):
                facts(inf=math.inf, path=pathlib.Path("/x"), pair=(1, 2.5), bad="\\udcff", set={2, 1}, none=None,
                      deep={1: [True]})
        """)
    assert inner.run().ret == 0
    assert inner.results()["verdicts"][0]["facts"] == {
        "inf": "inf", "path": "/x", "pair": [1, 2.5], "bad": "\\udcff", "set": [1, 2], "none": None,
        "deep": {"1": [True]},
    }  # fmt: skip


ONE_EXPERIMENT = """
class TestIt:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment):
        return experiment.run(raises={error!r}, says={text!r})

    @requirement("DRAIN-1")
    def test_one(self, evidence): pass
    @requirement("DRAIN-2")
    def test_two(self, evidence): pass
"""


@pytest.mark.parametrize(
    ("error", "verdict", "summary"),
    [
        ("NotReadyInTime", "inconclusive", "the target did not start: not ready in 3 s"),
        ("Inconclusive", "inconclusive", "not ready in 3 s"),
        ("Unsupported", "unsupported", "not ready in 3 s"),
        ("HarnessError", "error", "HarnessError while the experiment was run: not ready in 3 s"),
        ("AssertionError", "error", "AssertionError while the experiment was run: not ready in 3 s"),
    ],
)
def test_an_experiment_that_does_not_succeed_is_run_once_and_tells_for_all_checks(inner, error, verdict, summary):
    inner.scenarios(ONE_EXPERIMENT.format(error=error, text="not ready in 3 s\nTraceback of the target"))
    result = inner.run()
    assert result.ret == (pytest.ExitCode.NO_TESTS_COLLECTED if verdict == "unsupported" else 1)
    assert inner.verdicts() == {"drain.TestIt::test_one": verdict, "drain.TestIt::test_two": verdict}
    assert set(summaries(inner).values()) == {summary}
    assert inner.results()["verdicts"][1]["details"] == "Traceback of the target"
    tracebacks = re.findall(rf"^E +(?:drainproof\.errors\.)?{error}: ", result.stdout.str(), re.MULTILINE)
    # A failure that the engine raises on purpose says all in its text, and is shown once; a defect has its traceback.
    assert len(tracebacks) == (1 if error == "AssertionError" else 0)
    if verdict == "error":
        assert result.stdout.str().count("the same failure as in test_one") == 1


def test_a_run_that_judges_nothing_is_not_green(inner):
    """Without a Docker engine every rule is `unsupported`: a gate that passes then has shown nothing."""
    inner.scenarios(ONE_EXPERIMENT.format(error="Unsupported", text="no engine"))
    result = inner.run("--color=yes")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert inner.results()["red"]
    assert "Nothing could be judged of standin." in result.stdout.str()
    assert "\x1b[32m" not in result.outlines[-1], "pytest's last line is not green either"


def test_what_does_not_apply_beside_what_holds_is_green(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            def test_one(self): pass
            @requirement("DRAIN-2")
            def test_two(self, experiment):
                experiment.run(raises="Unsupported", says="no gRPC")
        """)
    assert inner.run().ret == 0
    assert not inner.results()["red"]


def test_a_launch_error_may_be_what_a_check_is_about(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("START-3")
            def test_it(self, experiment, facts):
                with pytest.raises(ExitedEarly) as caught:
                    experiment.run(raises="ExitedEarly", says="exit 1")
                facts.summary(f"it ended: {caught.value}")
        """)
    assert inner.run().ret == 0
    assert summaries(inner) == {"test_it": "it ended: exit 1"}


def test_a_failed_clean_up_is_an_error_of_the_last_check(inner):
    inner.scenarios("""
        class TestIt:
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment):
                yield experiment.run()
                raise OSError("the port is still taken")
            @requirement("DRAIN-1")
            def test_one(self, evidence): pass
            @requirement("DRAIN-2")
            def test_two(self, evidence): pass
        """)
    assert inner.run().ret == 1
    assert inner.verdicts() == {"drain.TestIt::test_one": "pass", "drain.TestIt::test_two": "error"}
    assert summaries(inner)["test_two"] == "OSError in the clean-up: the port is still taken"


def test_a_failed_clean_up_does_not_hide_a_failure(inner):
    inner.scenarios("""
        class TestIt:
            @pytest.fixture
            def port(self):
                yield
                raise OSError("the port is still taken")
            @requirement("DRAIN-1")
            def test_it(self, port): assert False, "lost"
        """)
    result = inner.run()
    assert inner.verdicts() == {"drain.TestIt::test_it": "fail"}
    result.stdout.fnmatch_lines(["*OSError: the port is still taken*"])


def test_marks_change_no_verdict(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            @pytest.mark.xfail
            def test_xfail(self): assert False, "lost"
            @requirement("DRAIN-2")
            @pytest.mark.xfail(strict=True)
            def test_xpass(self): pass
            @requirement("DRAIN-3")
            @pytest.mark.skip(reason="no time")
            def test_skip(self): pass
            @requirement("DRAIN-4")
            def test_skipped_inside(self): pytest.skip("no time")
        """)
    assert inner.run().ret == 1
    assert [v["verdict"] for v in inner.results()["verdicts"]] == ["fail", "pass", "inconclusive", "inconclusive"]
    assert summaries(inner)["test_skip"] == "skipped: no time"


def test_an_assertion_of_the_engine_is_no_failure_of_the_target(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self):
                scope = {"__name__": "drainproof.evidence.bundle"}
                exec("def broken(): assert False, 'cannot be'", scope)
                scope["broken"]()
        """)
    assert inner.run().ret == 1
    assert list(inner.verdicts().values()) == ["error"]


def test_notes_and_rules_that_do_not_apply_are_green(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-5")
            def test_note(self): assert False, "still ready"
            @requirement("DRAIN-7")
            def test_unsupported(self): raise Unsupported("no endless request")
        """)
    result = inner.run("-p", "no:cacheprovider")
    assert result.ret == 0
    assert not inner.results()["red"]


def test_several_checks_of_one_requirement(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            def test_one(self): pass
            @requirement("DRAIN-1")
            def test_two(self): assert False, "lost"
        """)
    inner.run()
    assert inner.verdicts() == {"drain.TestIt::test_one": "pass", "drain.TestIt::test_two": "fail"}


def test_the_decorator_of_scenario_writers(inner):
    inner.scenarios("""
        from drainproof.scenario import requirement as real
        class TestIt:
            @real("DRAIN-1")
            def test_it(self): pass
        """)
    inner.run_apart()
    assert list(inner.verdicts().values()) == ["pass"]


@pytest.mark.parametrize(
    "options",
    [["--junitxml=theirs.xml"], ["-rA", "--tb=line"], ["--setup-show"], ["--stepwise"], ["-vv", "--durations=3"]],
)
def test_other_outputs_of_pytest_take_our_reports(inner, options):
    inner.scenarios(SCENARIO)
    result = inner.run(*options)
    assert result.ret == (2 if options == ["--stepwise"] else 1)
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    if options[0].startswith("--junitxml"):
        cases = {case.get("name"): [e.tag for e in case] for case in ET.parse("theirs.xml").iter("testcase")}
        assert cases == {
            "test_holds": [],
            "test_does_not_hold": ["failure"],
            "test_should_hold": [],
            "test_cannot_be_said": ["failure"],
            "test_does_not_apply": ["skipped"],
            "test_breaks": ["failure"],
        }
