from __future__ import annotations

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
