"""What is left of a run: the reports, the evidence, and what happens when they cannot be written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest

TWO = """
import os, time
class TestFirst:
    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment): return experiment.run()
    @requirement("DRAIN-1")
    def test_it(self, evidence): pass
    @requirement("DRAIN-2")
    def test_too(self, evidence): pass

class TestSecond:
    @requirement("EXIT-1")
    def test_it(self):
        {}
"""


def test_the_files(inner):
    inner.scenarios(TWO.format("pass"))
    inner.run("-p", "no:randomly")
    results = inner.results()
    assert (results["format"], results["aborted"], results["red"]) == (1, False, False)
    assert results["target"]["name"] == "standin"
    assert results["target"]["folder"] == str(inner.target)
    assert results["target"]["manifest"]["workers"] == [1, 2]
    assert results["versions"]["target"] == {"python": "3.99"}
    assert results["command"].startswith("pytest ")
    assert results["counts"]["pass"] == 3
    suites = ET.parse(inner.report / "junit.xml").getroot()
    assert [case.get("name") for case in suites.iter("testcase")] == ["DRAIN-1", "DRAIN-2", "EXIT-1"]


def test_a_run_that_is_killed_leaves_what_it_had(inner):
    inner.scenarios(TWO.format("open('ready', 'w').close(); time.sleep(60)"))
    command = [sys.executable, "-m", "pytest", *map(str, inner._args((), True))]
    with subprocess.Popen(command, cwd=inner.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not (inner.path / "ready").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert inner.results()["aborted"]
    assert inner.verdicts() == {"drain.TestFirst::test_it": "pass", "drain.TestFirst::test_too": "pass"}
    cases = [case.get("name") for case in ET.parse(inner.report / "junit.xml").getroot().iter("testcase")]
    assert cases == ["DRAIN-1", "DRAIN-2", "aborted"]


@pytest.mark.parametrize(
    ("how", "exit_status"),
    [("raise KeyboardInterrupt", 2), ("pytest.exit('enough', returncode=0)", 1), ("assert False", 1)],
)
def test_a_run_that_does_not_reach_its_end_is_aborted(inner, how, exit_status):
    inner.scenarios(TWO.format(how) + "\n    @requirement('EXIT-2')\n    def test_never(self): pass\n")
    try:
        result = inner.run("-x")
        assert result.ret == exit_status
    except KeyboardInterrupt:  # how pytester hands it on
        pass
    assert inner.results()["aborted"]
    assert inner.results()["red"]
    assert inner.verdicts()["drain.TestFirst::test_too"] == "pass"


def test_sigterm_ends_a_run_in_order_and_says_so(inner):
    """A second one, which `timeout` sends as well, does not interrupt the clean-up."""
    inner.scenarios("""
        import os, signal, time
        class TestIt:
            @pytest.fixture(scope="class", autouse=True)
            @classmethod
            def target_of_ours(cls):
                yield
                os.kill(os.getpid(), signal.SIGTERM)
                open("ended", "w").close()
            @requirement("DRAIN-1")
            def test_one(self): pass
            @requirement("DRAIN-2")
            def test_two(self):
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
                except Exception:
                    raise AssertionError("an interruption is no failure")
        """)
    result = inner.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(
        ["!* drainproof.*.Terminated: SIGTERM came during drain.TestIt, the target was ended !*"]
    )
    assert (inner.path / "ended").exists()
    assert inner.results()["aborted"]
    assert inner.verdicts() == {"drain.TestIt::test_one": "pass"}


def test_processes_that_a_test_forks_end_by_sigterm_as_ever(inner):
    inner.scenarios("""
        import multiprocessing, time
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self):
                child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
                child.start()
                child.terminate()
                child.join()
                assert child.exitcode == -15
        """)
    assert inner.run_apart().ret == 0


def test_sigterm_in_the_moment_of_a_fork_is_not_lost(inner):
    inner.write(
        "conftest.py",
        """
        import os, signal
        os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM) if os.path.exists("armed") else None)
        """,
    )
    inner.scenarios("""
        import os, time
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self):
                open("armed", "w").close()
                if os.fork() == 0:
                    os._exit(0)
                time.sleep(60)
        """)
    result = inner.run_apart()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["!* drainproof.*.Terminated: SIGTERM came during drain.TestIt*"])


def test_each_run_has_evidence_of_its_own_and_nothing_is_lost(inner):
    inner.scenarios(TWO.format("pass"))
    inner.run()
    first = inner.evidence()
    (first / "drain.TestFirst" / "mark").write_text("kept")
    inner.run()
    inner.run("--collect-only")
    folders = sorted((inner.report / "evidence").iterdir())
    assert len(folders) == 2
    assert (first / "drain.TestFirst" / "mark").read_text() == "kept"
    assert (inner.report / ".gitignore").read_text().endswith("*\n")
    for verdict in inner.results()["verdicts"][:2]:
        assert (inner.report / verdict["evidence"]).parent == inner.evidence()


def write_an_old_run(inner):
    """The reports of a run that was green."""
    (inner.report / "evidence").mkdir(parents=True)
    (inner.report / ".drainproof").touch()
    for name in ("results.json", "junit.xml", "certificate.html"):
        (inner.report / name).write_text("green")


def assert_nothing_green_is_left(inner):
    assert not (inner.report / "certificate.html").exists()
    if (inner.report / "results.json").exists():
        results = inner.results()
        assert results["aborted"] and results["red"]
    if (inner.report / "junit.xml").exists():
        cases = [case.get("name") for case in ET.parse(inner.report / "junit.xml").getroot().iter("testcase")]
        assert cases == ["aborted"]


@pytest.mark.parametrize(
    ("args", "manifest", "module"),
    [
        ([], "no TOML", "pass"),
        ([], "", "import nothing_of_that_name"),
        ([], "", "class TestIt:\n    @requirement('DRAIN-99')\n    def test_it(self): pass"),
        (["--setup-plan"], "", "class TestIt:\n    @requirement('DRAIN-1')\n    def test_it(self): pass"),
        (["--target=nowhere"], "", "pass"),
    ],
)
def test_a_run_that_does_not_get_to_its_first_check_leaves_no_older_results(inner, args, manifest, module):
    inner.scenarios(module)
    write_an_old_run(inner)
    if manifest:
        inner.write("server/drainproof.toml", manifest)
    inner.run(*args)
    assert_nothing_green_is_left(inner)


def test_a_run_that_is_killed_while_it_collects_leaves_red_results(inner):
    inner.scenarios("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    write_an_old_run(inner)
    assert inner.run_apart().ret == -signal.SIGKILL
    assert inner.results()["aborted"]
    assert_nothing_green_is_left(inner)


@pytest.mark.parametrize("args", [["--collect-only"], ["--fixtures"], ["--markers"], ["--cache-show"]])
def test_a_run_that_only_shows_something_changes_nothing(inner, args):
    inner.scenarios(TWO.format("pass"))
    write_an_old_run(inner)
    assert inner.run(*args).ret == 0
    assert (inner.report / "results.json").read_text() == "green"
    assert list((inner.report / "evidence").iterdir()) == []


def test_two_runs_at_the_same_time_do_not_share_a_report_folder(inner):
    inner.scenarios("""
        import os, subprocess, sys
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self, facts):
                if "INNER" in os.environ:
                    return
                command = [sys.executable, "-m", "pytest", "-p", "standin", "-p", "no:cacheprovider", "--target=server"]
                for args in ([], ["--report-dir=elsewhere"]):
                    done = subprocess.run(
                        [*command, *args], env={**os.environ, "INNER": "1"}, capture_output=True, text=True
                    )
                    facts(**{f"status_{len(args)}": done.returncode, f"said_{len(args)}": done.stderr})
        """)
    assert inner.run_apart().ret == 0
    facts = inner.results()["verdicts"][0]["facts"]
    assert (facts["status_0"], facts["status_1"]) == (4, 0)
    assert f"--drainproof-report-dir={inner.report}: another run writes its reports to this folder" in facts["said_0"]
    assert "--drainproof-report-dir=DIR" in facts["said_0"]
    assert inner.run().ret == 0  # the lock ends with its run


def test_an_empty_evidence_folder_is_not_left_behind(inner):
    inner.scenarios("import nothing_of_that_name")
    inner.run()
    assert list((inner.report / "evidence").iterdir()) == []


@pytest.mark.parametrize("foreign", ["results.json", "junit.xml", "certificate.html", "evidence"])
def test_a_folder_with_files_of_somebody_else_is_refused(inner, foreign):
    inner.scenarios(TWO.format("pass"))
    file = inner.write(f"reports/{foreign}", "theirs")
    result = inner.run("--report-dir=reports")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --report-dir=*reports: holds {foreign} that drainproof did not write.*"])
    assert file.read_text() == "theirs"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_with_other_files_is_taken_and_they_stay(inner):
    inner.scenarios(TWO.format("pass"))
    file = inner.write("reports/coverage.xml", "theirs")
    assert inner.run("--report-dir=reports").ret == 0
    assert file.read_text() == "theirs"
    assert not (file.parent / ".gitignore").exists()
    assert (file.parent / "results.json").exists()
    assert inner.run("--report-dir=reports").ret == 0


def test_a_folder_that_cannot_be_made_is_a_usage_error(inner):
    inner.scenarios(TWO.format("pass"))
    result = inner.run("--report-dir=/proc/nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --report-dir=/proc/nowhere: cannot be written: *"])


def test_a_full_disk(inner):
    """A limit on the size of files stands for it: the reports outgrow it, the evidence does not."""
    inner.scenarios("""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self, facts):
                resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
                facts(much="x" * 10_000)
        """)
    result = inner.run_apart("-p", "no:cacheprovider")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: the reports in *drainproof-report cannot be written: File too large"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert not any(line.startswith("Report") for line in result.outlines)
    assert inner.results()["aborted"]  # the one before is still there, whole
    assert [path.name for path in inner.report.iterdir() if path.name.endswith(".tmp")] == []


HOOKS = """
import time
def pytest_drainproof_verdict(verdict):
    print("VERDICT", verdict.requirement, verdict.verdict)
def pytest_drainproof_report(results, folder):
    print("REPORT", results.aborted, len(results.verdicts), folder.name)
    {}
def pytest_drainproof_summary(results, width):
    return ["their summary", ("in red", "red")]
"""


def test_the_hooks_of_other_plugins(inner):
    inner.scenarios(TWO.format("pass"))
    inner.write("conftest.py", HOOKS.format("pass"))
    result = inner.run("-s")
    lines = [line for line in result.outlines if line.startswith(("VERDICT", "REPORT", "their", "in red"))]
    assert lines == [
        "REPORT True 0 drainproof-report",
        "VERDICT DRAIN-1 pass",
        "VERDICT DRAIN-2 pass",
        "REPORT True 2 drainproof-report",
        "VERDICT EXIT-1 pass",
        "REPORT True 3 drainproof-report",
        "REPORT False 3 drainproof-report",
        "their summary",
        "in red",
    ]


def test_a_report_that_takes_long_is_written_seldom(inner):
    inner.scenarios("""
        @pytest.mark.parametrize("n", range(20), scope="class")
        class TestMany:
            @requirement("DRAIN-1")
            def test_it(self, n, experiment): pass
        """)
    inner.write("conftest.py", HOOKS.format("time.sleep(0.3)"))
    result = inner.run("-s")
    assert 2 <= result.stdout.str().count("REPORT") <= 8
    assert len(inner.results()["verdicts"]) == 20


def test_a_report_that_fails_does_not_take_the_others_with_it(inner):
    inner.scenarios(TWO.format("pass"))
    inner.write("conftest.py", HOOKS.format("raise ValueError('their mistake')"))
    result = inner.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR: a report failed: ValueError: their mistake"])
    assert not inner.results()["aborted"]


def test_a_laboratory_that_cannot_be_closed(inner):
    inner.scenarios(TWO.format("pass"))
    inner.write(
        "conftest.py",
        """
        import pytest, standin
        class Stuck(standin.Laboratory):
            def close(self): raise OSError("the engine does not end")
        def pytest_drainproof_laboratory(target, folder, progress):
            return Stuck(target, folder, progress)
        """,
    )
    result = inner.run()
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["standin keeps all *", "ERROR: the laboratory could not be closed: OSError: the engine does not end"]
    )


def test_the_results_fit_their_schema(inner):
    jsonschema = pytest.importorskip("jsonschema")
    from drainproof_reports import results_json

    inner.scenarios(TWO.format("assert False, 'lost'"))
    inner.run()
    schema = json.loads(results_json.SCHEMA.read_text())
    jsonschema.Draft202012Validator(schema).validate(inner.results())
