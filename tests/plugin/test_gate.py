"""Gates and known failures: what they do to the exit status, to what is shown, and to the reports."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

SCENARIOS = """
class TestStop:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal): return experiment.run(stop_signal=stop_signal)
    @requirement("DRAIN-1")
    def test_must(self, evidence): assert {must}, "lost"
    @requirement("DRAIN-5")
    def test_should(self, evidence): assert {should}, "late"

class TestOther:
    @requirement("EXIT-1")
    def test_it(self):
        {other}
"""
KNOWN = """
[[failure]]
id = "DRAIN-1"
reason = "there is no drain yet"
link = "https://example.com/12"
"""


def write(inner, *, must="True", should="True", other="pass") -> None:
    inner.scenarios(SCENARIOS.format(must=must, should=should, other=other))


def gate(inner) -> dict:
    return inner.results()["gate"]


def passed(inner, result) -> bool:
    """Whether the gate is open: exit status, results and terminal have to agree."""
    rule = gate(inner)["rule"]
    result.stdout.fnmatch_lines([f"Gate {rule}: {'open' if gate(inner)['passed'] else 'closed'}"])
    assert (result.ret == 0) == gate(inner)["passed"] == (not gate(inner)["reasons"])
    return gate(inner)["passed"]


@pytest.mark.parametrize(
    ("rule", "code", "is_open"),
    [
        ("must", {}, True),
        ("must", {"should": "False"}, True),
        ("must+should", {"should": "False"}, False),
        ("must", {"must": "False"}, False),
        ("must+should", {"must": "False"}, False),
        ("must", {"other": "raise Inconclusive('nothing in flight')"}, False),
        ("must", {"other": "1 / 0"}, False),
        ("must", {"other": "raise Unsupported('no')"}, True),
    ],
)
def test_rules_without_a_baseline(inner, rule, code, is_open):
    write(inner, **code)
    assert passed(inner, inner.run(f"--gate={rule}")) is is_open


def test_no_gate_was_asked_for(inner):
    write(inner, must="False")
    assert inner.run().ret == 1
    assert gate(inner) is None


def test_each_reason_is_one_line(inner):
    write(inner, must="False", other="1 / 0")
    result = inner.run("--gate=must")
    assert gate(inner)["reasons"] == [
        "DRAIN-1 does not hold, in 2 checks, the first in drain.TestStop[SIGTERM]: lost",
        "EXIT-1 could not be judged for an error, in drain.TestOther: ZeroDivisionError in the check: division by zero",
    ]
    result.stdout.fnmatch_lines(
        ["Gate must: closed", "  closed by  DRAIN-1 does not hold, in 2 checks, *", "  closed by  EXIT-1 could not *"],
        consecutive=True,
    )


def test_a_run_that_judged_nothing_or_was_aborted_passes_no_gate(inner):
    write(inner, other="raise Unsupported('no')")
    result = inner.run("--gate=must", "-k", "TestOther")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert gate(inner)["reasons"] == ["nothing was judged"]
    result = inner.run("--gate=must", "-k", "nothing_at_all")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["Gate must: closed", "  closed by  nothing was judged"], consecutive=True)
    write(inner, other="pytest.exit('enough', returncode=0)")
    assert not passed(inner, inner.run("--gate=must"))
    assert gate(inner)["reasons"] == ["the run was aborted: what is missing was not judged"]


def test_what_fails_besides_the_checks_closes_the_gate(inner):
    write(inner)
    inner.write("test_mine.py", "def test_mine(): assert False\nfrom standin_scenarios.drain import TestOther\n")
    assert not passed(inner, inner.run("--gate=must", "test_mine.py"))
    assert gate(inner)["reasons"] == ["not a check, and failed: test_mine.py::test_mine"]


def test_a_clean_up_that_fails_closes_the_gate(inner):
    write(inner, must="False")
    inner.run()
    (inner.report / "results.json").rename(inner.path / "baseline.json")
    inner.scenarios(
        SCENARIOS.format(must="False", should="True", other="pass").replace(
            "    @requirement",
            "    @pytest.fixture(autouse=True)\n    def cleanup(self):\n        yield\n        1 / 0\n    @requirement",
            1,
        )
    )
    result = inner.run("--gate=no-regression:baseline.json", "-k", "DRAIN-1 or EXIT-1 or DRAIN-5")
    assert not passed(inner, result)
    assert (
        "not a check, and failed: standin_scenarios/drain.py::TestStop::test_must[SIGTERM] and 1 more"
        in (gate(inner)["reasons"])
    )


def test_a_module_that_could_not_be_imported_closes_the_gate(inner):
    write(inner)
    inner.scenarios("import nothing_of_that_name", module="broken")
    assert not passed(inner, inner.run("--gate=must", "--continue-on-collection-errors"))
    assert gate(inner)["reasons"] == ["not a check, and failed: standin_scenarios/broken.py"]
    assert inner.results()["overall"] == "incomplete"


@pytest.mark.parametrize(
    ("before", "after", "args", "is_open"),
    [
        ({}, {}, [], True),
        ({"must": "False"}, {"must": "False"}, [], True),
        ({"must": "False"}, {}, [], True),
        ({}, {"must": "False"}, [], False),
        ({}, {"should": "False"}, [], False),
        ({"should": "False"}, {"should": "False"}, [], True),
        ({}, {"other": "raise Inconclusive('not today')"}, [], False),
        ({}, {"other": "raise Unsupported('not here')"}, [], False),
        ({}, {}, ["-k", "DRAIN-1"], False),
        ({"other": "1 / 0"}, {"other": "raise Inconclusive('not today')"}, [], True),
        ({"other": "raise Inconclusive('not today')"}, {"other": "1 / 0"}, [], True),
        ({"other": "raise Inconclusive('not today')"}, {"other": "assert False"}, [], False),
        ({"other": "1 / 0"}, {"other": "assert False"}, [], False),
        ({"other": "assert False"}, {"other": "raise Inconclusive('not today')"}, [], False),
        ({"other": "raise Unsupported('no')"}, {"other": "assert False"}, [], False),
    ],
)
def test_no_regression(inner, before, after, args, is_open):
    write(inner, **before)
    inner.run("--report-dir=before")
    write(inner, **after)
    for baseline in ("before", "before/results.json"):
        assert passed(inner, inner.run(f"--gate=no-regression:{baseline}", *args)) is is_open


def test_what_a_regression_says(inner):
    write(inner, must="stop_signal == 'SIGTERM'".replace("stop_signal", "evidence.stop_signal"))
    inner.run("--report-dir=before", "-k", "DRAIN-1 or DRAIN-5")
    write(inner, must="False", should="True", other="1 / 0")
    result = inner.run("--gate=no-regression:before", "-k", "DRAIN-1 or EXIT-1")
    assert not passed(inner, result)
    assert gate(inner)["reasons"] == [
        "DRAIN-1 does not hold, and held in the baseline, in drain.TestStop[SIGTERM]: lost",
        "DRAIN-5 was judged in the baseline and is not any more, in 2 checks, the first in drain.TestStop[SIGTERM]",
        "EXIT-1 could not be judged for an error, and the baseline does not have this check, in drain.TestOther: "
        "ZeroDivisionError in the check: division by zero",
    ]
    assert gate(inner)["remarks"] == [
        "DRAIN-1 does not hold; the baseline says fail already, in drain.TestStop[SIGINT]: lost",
        "2 checks were left out by the selection: nothing is said of them",
    ]


def test_a_failure_where_the_baseline_was_not_judged_is_new(inner):
    write(inner, other="raise Inconclusive('not today')")
    inner.run("--report-dir=before")
    write(inner, other="assert False, 'lost'")
    assert not passed(inner, inner.run("--gate=no-regression:before"))
    [reason] = gate(inner)["reasons"]
    assert reason == "EXIT-1 does not hold, and the baseline says inconclusive, in drain.TestOther: lost"


def test_a_baseline_that_is_not_like_this_run_is_remarked(inner):
    write(inner)
    inner.run()
    before = inner.results()
    manifest = {**before["target"]["manifest"], "launch": "container"}
    changes = {"specification": "1999.1", "aborted": True, "target": {**before["target"], "manifest": manifest}}
    inner.write("before.json", json.dumps({**before, **changes}))
    assert passed(inner, inner.run("--gate=no-regression:before.json"))
    aborted, version, launch = gate(inner)["remarks"]
    assert aborted == "the baseline was aborted: what it did not get to is new here"
    assert "by the requirements of 1999.1, this run by those of 2" in version
    assert "was launched as container, this run as process" in launch


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mst", 'expected one of must, must+should, no-regression:BASELINE. Did you mean "must"?'),
        ("must:x", "only no-regression takes something behind a colon"),
        ("no-regression", "needs the results to compare with"),
        ("no-regression:", "needs the results to compare with"),
        ("no-regression:nowhere", "there is no such folder or file; expected a report folder"),
        ("no-regression:damaged.json", "damaged.json is damaged: it is no JSON"),
        ("no-regression:empty.json", "empty.json is no results.json of drainproof: it has no format"),
        ("no-regression:later.json", "has format 99, this version reads 1"),
        ("no-regression:other.json", "these are results of the target 'somebody', and this run is about 'standin'"),
        ("no-regression:drainproof-report", "this run would replace it by its own results"),
        ("no-regression:drainproof-report/results.json", "this run would replace it by its own results"),
    ],
)
def test_a_gate_that_cannot_be_is_a_usage_error(inner, value, said):
    write(inner)
    inner.run()
    results = inner.results()
    inner.write("damaged.json", "{")
    inner.write("empty.json", "{}")
    inner.write("later.json", json.dumps({**results, "format": 99}))
    inner.write("other.json", json.dumps({**results, "target": {**results["target"], "name": "somebody"}}))
    result = inner.run(f"--gate={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--gate={value}: " in result.stderr.str()
    assert said in " ".join(result.stderr.str().split())
    assert (inner.report / "results.json").exists() == ("drainproof-report" in value)


def test_a_gate_with_xdist(inner):
    pytest.importorskip("xdist")
    write(inner, must="False")
    inner.run("--report-dir=before")
    inner.write("known.toml", KNOWN)
    assert passed(inner, inner.run_apart("-n", "2", "--gate=no-regression:before"))
    assert not passed(inner, inner.run_apart("-n", "2", "--gate=must"))
    assert passed(inner, inner.run_apart("-n", "2", "--gate=must", "--known-failures=known.toml"))


def test_a_gate_on_saved_evidence(inner):
    write(inner, must="False")
    inner.run()
    again = ["--evidence=drainproof-report", "--report-dir=again"]
    inner.write("known.toml", KNOWN)
    inner.report = inner.path / "again"
    assert not passed(inner, inner.run(*again, "--gate=must", target=False))
    assert passed(inner, inner.run(*again, "--gate=must", "--known-failures=known.toml", target=False))
    assert passed(inner, inner.run(*again, "--gate=no-regression:drainproof-report", target=False))


def test_known_failures_stay_failures_and_do_not_make_the_run_fail(inner):
    write(inner, must="False")
    inner.write("known.toml", KNOWN)
    result = inner.run("--known-failures=known.toml")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*3 passed, 2 known in *"])
    result.stdout.fnmatch_lines(["standin does not keep DRAIN-1 (known)."])
    result.stdout.fnmatch_lines(["known  DRAIN-1  lost (stop): there is no drain yet, https://example.com/12"])
    results = inner.results()
    assert (results["overall"], results["red"], results["counts"]["fail"]) == ("not conforming", True, 2)
    declared = {"id": "DRAIN-1", "reason": "there is no drain yet", "link": "https://example.com/12"}
    assert [v["known"] for v in results["verdicts"]] == [declared, None, declared, None, None]
    assert results["stale"] == []
    assert passed(inner, inner.run("--known-failures=known.toml", "--gate=must"))
    assert gate(inner)["remarks"] == [
        "DRAIN-1 does not hold, which is known: there is no drain yet (https://example.com/12), in 2 checks, "
        "the first in drain.TestStop[SIGTERM]: lost"
    ]


@pytest.mark.parametrize(("args", "shown"), [(["-v"], "*test_must*KNOWN*"), (["-q"], "k.k..*")])
def test_letter_and_word_of_a_known_failure(inner, args, shown):
    write(inner, must="False")
    inner.write("known.toml", KNOWN)
    inner.run("--known-failures=known.toml", *args).stdout.fnmatch_lines([shown])


def test_a_failure_is_known_in_one_scenario_alone(inner):
    write(inner, must="False")
    inner.write("known.toml", KNOWN.replace('"DRAIN-1"', '"DRAIN-1 drain.TestStop[SIGINT]"'))
    result = inner.run("--known-failures=known.toml", "--gate=must")
    assert not passed(inner, result)
    result.stdout.fnmatch_lines(["*1 failed, 3 passed, 1 known in *"])
    assert gate(inner)["reasons"] == ["DRAIN-1 does not hold, in drain.TestStop[SIGTERM]: lost"]


def test_a_note_can_be_known_and_what_was_not_judged_cannot(inner):
    write(inner, should="False", other="raise Inconclusive('nothing in flight')")
    inner.write("known.toml", KNOWN.replace("DRAIN-1", "DRAIN-5") + KNOWN.replace("DRAIN-1", "EXIT-1"))
    assert inner.run("--known-failures=known.toml").ret == 1
    results = inner.results()
    assert {v["requirement"]: v["known"] is not None for v in results["verdicts"]} == {
        "DRAIN-1": False,
        "DRAIN-5": True,
        "EXIT-1": False,
    }
    assert [s["why"] for s in results["stale"]] == ["it was not judged: inconclusive, nothing in flight"]
    assert not passed(inner, inner.run("--known-failures=known.toml", "--gate=must+should"))
    assert [r.partition(" ")[0] for r in gate(inner)["reasons"]] == ["EXIT-1"]


@pytest.mark.parametrize(
    ("declared", "args", "why"),
    [
        ("DRAIN-1", [], "it holds now, in all 2 checks"),
        ("DRAIN-1 drain.TestStop[SIGINT]", [], "it holds now"),
        ("DRAIN-1", ["-k", "EXIT-1"], "it was not judged: the selection left out 4 checks"),
        ("START-1", [], "it was not judged: no scenario of this run has a check of it"),
        (
            "DRAIN-1 drain.TestStp[SIGINT]",
            [],
            'it was not judged: this run has no scenario drain.TestStp[SIGINT]. Did you mean "drain.TestStop[SIGINT]"?',
        ),
    ],
)
def test_stale_entries_are_reported(inner, declared, args, why):
    write(inner)
    inner.write("known.toml", KNOWN.replace('"DRAIN-1"', f'"{declared}"'))
    result = inner.run("--known-failures=known.toml", *args)
    assert result.ret == 0
    assert [(s["known"]["id"], s["why"]) for s in inner.results()["stale"]] == [(declared, why)]
    assert f"stale {declared} is declared as a known failure: {why}" in " ".join(result.stdout.str().split())


def test_junit_of_a_known_failure(inner):
    write(inner, must="False", should="False")
    inner.write("known.toml", KNOWN + KNOWN.replace("DRAIN-1", "DRAIN-5"))
    inner.run("--known-failures=known.toml")
    root = ET.parse(inner.report / "junit.xml").getroot()
    assert (root.get("failures"), root.get("errors")) == ("0", "0")
    case = root.find("testsuite/testcase")
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties["verdict"] == "fail"
    assert (properties["known"], properties["known.link"]) == ("DRAIN-1", "https://example.com/12")
    assert case.find("skipped").get("message") == (
        "known failure: there is no drain yet (https://example.com/12); lost"
    )
    note = root.find("testsuite/testcase[@name='DRAIN-5']")
    assert [element.tag for element in note] == ["properties", "system-out"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("[[failure]", "known.toml, line 1, column 10: not valid TOML"),
        ('[[failure]]\nid = "DRAIN-1"\nreason = "x"\n', "failure[0].link missing; expected where it is tracked"),
        (KNOWN.replace("DRAIN-1", "DRAIN-99"), 'failure[0].id = "DRAIN-99" there is no requirement "DRAIN-99".'),
        (
            KNOWN.replace("reason", "reasn"),
            'failure[0].reasn = "there is no drain yet" unknown key. Did you mean "reason"?',
        ),
        (KNOWN.replace("https://example.com/12", "JIRA-12"), "expected a link to where the failure is tracked"),
        (KNOWN.replace("there is no drain yet", " "), "expected a text of one line, not empty"),
        (KNOWN + KNOWN, 'failure[1].id = "DRAIN-1" declared twice'),
        ("[failure]\nid = 1\n", "expected an array"),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error(inner, text, said):
    write(inner)
    if text is not None:
        inner.write("known.toml", text)
    result = inner.run("--known-failures=known.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = " ".join(result.stderr.str().split())
    assert "--known-failures=known.toml: " in told
    assert said in told


def closed_by(inner, result) -> list[str]:
    """What closes the gate, which must make the run fail."""
    assert not passed(inner, result)
    assert inner.results()["gate"]["reasons"]
    return gate(inner)["reasons"]


def test_a_laboratory_that_cannot_be_closed_closes_the_gate(inner):
    write(inner)
    inner.write("conftest.py", "import standin\ndef close(self): raise OSError('the engine is gone')\n"
                "standin.Laboratory.close = close\n")  # fmt: skip
    result = inner.run_apart("--gate=must")
    assert closed_by(inner, result) == ["the laboratory could not be closed: OSError: the engine is gone"]
    result.stdout.fnmatch_lines(["ERROR: the laboratory could not be closed: OSError: the engine is gone"])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "@pytest.hookimpl(wrapper=True)\ndef pytest_runtestloop(session):\n"
            "    result = yield\n    session.testsfailed += 1\n    return result\n",
            "a plugin of pytest made the session fail, and no test says why: see its own output",
        ),
        (
            "class Late:\n    @pytest.hookimpl(tryfirst=True)\n"
            "    def pytest_sessionfinish(self, session): session.exitstatus = 1\n"
            "def pytest_sessionstart(session): session.config.pluginmanager.register(Late())\n",
            "a plugin of pytest set the exit status of the session to 1: see its own output",
        ),
    ],
)
@pytest.mark.parametrize("code_of_check", [{}, {"must": "False"}])
def test_a_session_that_a_plugin_lets_fail_closes_the_gate(inner, code, reason, code_of_check):
    write(inner, **code_of_check)
    inner.write("known.toml", KNOWN)
    inner.write("conftest.py", "import pytest\n" + code)
    assert closed_by(inner, inner.run("--gate=must", "--known-failures=known.toml")) == [reason]


def test_a_session_that_a_plugin_lets_fail_closes_the_gate_among_failures_of_old(inner):
    write(inner, must="False")
    inner.run("--report-dir=before")
    inner.write("conftest.py", "def pytest_runtest_teardown(item): item.session.testsfailed += 'test_it' in item.name")
    assert len(closed_by(inner, inner.run("--gate=no-regression:before"))) == 1


def test_a_report_that_cannot_be_written_closes_the_gate(inner):
    write(inner)
    inner.write("conftest.py", "def pytest_drainproof_report(): raise ValueError('no such thing')\n")
    result = inner.run("--gate=must")
    assert closed_by(inner, result) == ["a report failed: ValueError: no such thing"]
    assert '"passed": false' in (inner.evidence() / "digests.json").read_text()
    result.stdout.fnmatch_lines(["ERROR: a report failed: ValueError: no such thing"])


KEPT_FROM_RUNNING = "def pytest_runtest_protocol(item): return 'test_it' in item.name or None"
SHORTENED = "@pytest.hookimpl(trylast=True)\ndef pytest_collection_finish(session): del session.items[-1]"


@pytest.mark.parametrize(("code", "args"), [(KEPT_FROM_RUNNING, []), (KEPT_FROM_RUNNING, ["-n", "2"]), (SHORTENED, [])])
def test_a_check_that_never_ran_leaves_the_run_incomplete(inner, code, args):
    if args:
        pytest.importorskip("xdist")
    write(inner)
    inner.write("conftest.py", "import pytest\n" + code)
    told = "selected, and never judged: drain.TestOther test_it. A plugin or conftest kept it from running."
    result = inner.run_apart("--gate=must", *args)
    assert told in closed_by(inner, result)
    assert (inner.results()["overall"], inner.results()["aborted"]) == ("incomplete", True)
    result.stdout.fnmatch_lines([f"ERROR: {told}"])
    assert inner.run_apart(*args).ret == 1


def test_a_baseline_behind_a_link_is_not_replaced(inner):
    write(inner, must="False")
    inner.run()
    (inner.path / "baseline.json").symlink_to(inner.report / "results.json")
    (inner.path / "before").mkdir()
    (inner.path / "before" / "results.json").symlink_to(inner.report / "results.json")
    (inner.path / "folder").symlink_to(inner.report)
    for name in ("baseline.json", "before", "folder", "folder/results.json"):
        result = inner.run(f"--gate=no-regression:{name}")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "this run would replace it by its own results" in result.stderr.str()
    (inner.report / "link").symlink_to(inner.path / "elsewhere")
    inner.run("--report-dir=elsewhere")
    assert passed(inner, inner.run("--gate=no-regression:elsewhere"))


def test_running_what_failed_again_until_it_passes_is_refused(inner):
    write(inner)
    inner.write("conftest.py", "def pytest_addoption(parser):\n    parser.addoption('--reruns', type=int)\n"
                "    parser.addini('reruns', 'how often')\n")  # fmt: skip
    for args in (["--reruns=2"], ["-o", "reruns=2"]):
        result = inner.run(*args, "--gate=must")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(["ERROR: reruns=2 would run a check that failed again*repeat=N runs each*"])
    assert inner.run("-o", "reruns=2", "--reruns=0", "--gate=must").ret == 0


RERUNS = """
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    for more in (True, False):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        again = more and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = "rerun"
            item.ihook.pytest_runtest_logreport(report=report)
        if not again:
            return True
"""
"""What pytest-rerunfailures does for a test with its mark."""


def test_the_worst_of_a_check_that_was_run_again_counts(inner):
    inner.scenarios("""
        runs = []
        class TestFlaky:
            @requirement("EXIT-1")
            def test_it(self):
                runs.append(1)
                assert len(runs) > 1, "lost"
        """)
    inner.write("conftest.py", RERUNS)
    assert inner.run("--gate=must").ret == 1
    assert gate(inner)["reasons"] == ["EXIT-1 does not hold, in drain.TestFlaky: lost"]
    assert inner.run().ret == 1
    assert inner.results()["overall"] == "not conforming"


def test_a_check_to_be_run_again_that_is_gone_closes_the_gate(inner):
    write(inner, must="False", other="assert False")
    inner.run()
    inner.scenarios(SCENARIOS.format(must="True", should="True", other="pass").replace("test_it", "test_exit"))
    result = inner.run("--rerun-failed=drainproof-report", "--gate=must")
    [reason] = closed_by(inner, result)
    assert reason.endswith(": drain.TestOther test_it was red, and there is no such check now.")


def test_an_exit_with_status_0_in_the_middle_of_a_run_is_not_green(inner):
    write(inner, other="pytest.exit('enough', returncode=0)")
    assert inner.run().ret == 1
    write(inner, other="pytest.exit('enough', returncode=7)")
    assert inner.run().ret == 7


def test_junit_says_what_closed_the_gate(inner):
    write(inner, should="False")
    inner.run("--gate=must+should")
    root = ET.parse(inner.report / "junit.xml").getroot()
    [failure] = root.iterfind("testsuite/testcase[@name='gate']/failure")
    assert (root.get("failures"), failure.get("message")) == ("1", "Gate must+should: closed")
    assert failure.text.splitlines() == gate(inner)["reasons"]
    inner.run("--gate=must")
    root = ET.parse(inner.report / "junit.xml").getroot()
    assert (root.get("failures"), root.find("testsuite/testcase[@name='gate']/failure")) == ("0", None)


def test_an_entry_for_one_run_of_a_scenario_gets_a_hint(inner):
    write(inner, must="False")
    inner.write("known.toml", KNOWN.replace('"DRAIN-1"', '"DRAIN-1 drain.TestStop[SIGINT-r2]"'))
    assert inner.run("--repeat=2", "--known-failures=known.toml").ret == 1
    assert [s["why"] for s in inner.results()["stale"]] == [
        'that is one run of a scenario, and a failure is known in all of them: write "DRAIN-1 drain.TestStop[SIGINT]"'
    ]
