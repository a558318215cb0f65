"""The options, and what an installed drainproof does to a run that is not about it: nothing."""

from __future__ import annotations

import importlib.util

import pytest

FOREIGN_OPTION = """
def pytest_addoption(parser):
    parser.addoption("--target", default="staging", help="the conftest's own")
    parser.addoption("--evidence", action="store_true")
    parser.addoption("--report-dir", type=int, default=7)
"""
FOREIGN_TEST = """
import importlib.util

import pytest

@pytest.fixture
def target(request):
    return request.config.getoption("--target")

def test_target(target, request):
    assert (target, request.config.getoption("report_dir")) == EXPECTED
"""
CHECK = """
class TestIt:
    @requirement("DRAIN-1")
    def test_it(self, target):
        assert target.name == "standin"
"""


@pytest.mark.parametrize(
    ("args", "expected"),
    [([], ("staging", 7)), (["--target", "prod"], ("prod", 7)), (["--target=prod", "--report-dir=3"], ("prod", 3))],
)
def test_a_conftest_may_have_options_of_the_same_name(inner, args, expected):
    inner.write("conftest.py", FOREIGN_OPTION)
    inner.write("test_it.py", FOREIGN_TEST.replace("EXPECTED", repr(expected)))
    result = inner.run(*args, target=False)
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    assert not inner.report.exists()


def test_a_plugin_may_have_options_of_the_same_name(inner):
    inner.write("their_plugin.py", FOREIGN_OPTION)
    inner.write("test_it.py", FOREIGN_TEST.replace("EXPECTED", "('prod', 7)"))
    inner.run("-p", "their_plugin", "--target", "prod", target=False).assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--gate=must", "--drainproof-gate=must", "--repeat=3", "--known-failures=x"])
def test_a_gate_without_anything_to_judge_is_a_usage_error(inner, option, monkeypatch):
    inner.write("test_it.py", "def test_it(): pass")
    result = inner.run(option, target=False)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option} is about a server: add --target=FOLDER*"])
    monkeypatch.setenv("PYTEST_ADDOPTS", option)
    assert inner.run(target=False).ret == 0


def test_a_conftest_may_have_a_gate_of_its_own(inner):
    inner.write("conftest.py", "def pytest_addoption(parser): parser.addoption('--gate')")
    inner.write("test_it.py", "def test_it(request): assert request.config.getoption('gate') == 'north'")
    assert inner.run("--gate=north", target=False).ret == 0


def test_a_conftest_deep_in_the_tree_may_have_options_of_the_same_name(inner):
    inner.write("a/b/c/conftest.py", FOREIGN_OPTION)
    inner.write("a/b/c/test_it.py", "def test_it(request): assert request.config.getoption('target') == 'staging'")
    inner.run(target=False).assert_outcomes(passed=1)


def test_with_options_of_the_same_name_the_safe_ones_still_work(inner):
    inner.write("conftest.py", FOREIGN_OPTION)
    inner.scenarios(CHECK)
    assert inner.run("--drainproof-target=server", "--drainproof-report-dir=here", target=False).ret == 0
    assert (inner.path / "here" / "results.json").exists()


def test_fixtures_of_other_plugins_are_not_shadowed(inner):
    inner.write(
        "their_plugin.py",
        """
        import pytest
        @pytest.fixture
        def target(): return "theirs"
        @pytest.fixture
        def facts(target): return "theirs"
        """,
    )
    inner.write("test_it.py", "def test_it(target, facts): assert (target, facts) == ('theirs', 'theirs')")
    inner.run("-p", "their_plugin", target=False).assert_outcomes(passed=1)


@pytest.mark.parametrize("locust", [[], ["-p", "no:locust"]])
def test_locusts_plugin_may_be_active_or_not(inner, locust):
    inner.scenarios(CHECK)
    inner.write("test_it.py", "def test_it(pytestconfig): pass")
    inner.run(*locust, "test_it.py", target=False).assert_outcomes(passed=1)
    assert inner.run(*locust).ret == 0
    if not locust and importlib.util.find_spec("pytest_locust"):
        inner.write("test_it.py", "def test_it(pytestconfig): assert pytestconfig.getoption('--host') == 'http://x'")
        inner.run("--host", "http://x", "test_it.py", target=False).assert_outcomes(passed=1)


def test_a_foreign_run_sees_no_fixtures_of_ours(inner):
    inner.write("test_it.py", "def test_it(experiment): pass")
    result = inner.run(target=False)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'experiment' not found"])


def test_a_foreign_run_imports_next_to_nothing(inner):
    inner.write(
        "test_it.py",
        """
        import sys
        def test_it():
            ours = {name for name in sys.modules if name.split(".")[0].startswith("drainproof")}
            expected = {"drainproof"} | {"drainproof." + n for n in ("plugin", "plugin.hookspecs", "plugin.options")}
            assert ours == expected
            assert not {"pydantic", "locust", "gevent", "psutil"} & set(sys.modules)
        """,
    )
    inner.pytester.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_checks_are_skipped_without_a_target(inner):
    inner.write(
        "test_own.py",
        """
        from standin import requirement
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self, experiment, facts, workers): pass
        def test_ordinary(): pass
        """,
    )
    result = inner.run("-rs", target=False)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*needs --target=FOLDER*"])


@pytest.mark.parametrize(
    "args",
    [
        ["--target", "server"],
        ["--target=server"],
        ["--target=server/drainproof.toml"],
        ["--drainproof-target", "server"],
        ["--drainproof-target=server"],
    ],
)
def test_spellings(inner, args):
    inner.scenarios(CHECK)
    assert inner.run(*args, target=False).ret == 0
    assert inner.verdicts() == {"drain.TestIt::test_it": "pass"}


def test_options_from_the_environment(inner, monkeypatch):
    inner.scenarios(CHECK)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--target server --report-dir=here")
    assert inner.run(target=False).ret == 0
    assert (inner.path / "here" / "results.json").exists()


def test_options_from_the_configuration_file(inner):
    inner.scenarios(CHECK)
    inner.write("pytest.ini", "[pytest]\naddopts = --target=server --report-dir=here -m nothing\n")
    assert inner.run(target=False).ret == 0
    assert (inner.path / "here" / "results.json").exists()


def test_a_folder_with_a_blank_in_its_name(inner):
    inner.scenarios(CHECK.replace("== ", "!= "))
    inner.target.rename(inner.path / "my server")
    assert inner.run("--target", "my server", target=False).ret == 1
    assert "pytest '--target=my server' -k drain.TestIt" in inner.results()["verdicts"][0]["repeat"]


def test_help(inner):
    result = inner.run("--help", target=False)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*--drainproof-target=FOLDER*", "*--target=FOLDER*Short for --drainproof-target.*"])


def test_help_beside_options_of_the_same_name(inner):
    inner.write("conftest.py", FOREIGN_OPTION)
    result = inner.run("--help", "--target=nowhere", target=False)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*--target=TARGET*the conftest's own*"])
    result.stdout.no_fnmatch_line("*Short for --drainproof-target*")


def usage_error(result: pytest.RunResult) -> str:
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stderr.str() + result.stdout.str()
    assert "Traceback" not in text
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--target=nowhere"], "nowhere: there is no such file or folder"),
        (["--target="], "--target needs a folder, got an empty value"),
        (["--target=server", "--evidence=x"], "--target and --evidence exclude each other"),
        (["--evidence=nowhere"], "--evidence=* there is no such folder; expected a report folder of drainproof"),
        (["--evidence=server"], "there is no session.json in it"),
        (["--target=server", "--report-dir=test_it.py"], "--report-dir=* this is a file; name a folder"),
    ],
)
def test_a_wrong_option_is_a_usage_error(inner, args, message):
    inner.write("test_it.py", "")
    text = usage_error(inner.run(*args, target=False))
    for part in message.split("*"):
        assert part.strip() in text


def test_a_mistake_in_the_manifest_is_a_usage_error(inner):
    (inner.target / "drainproof.toml").write_text("[start]\ncomand = 'x'\n")
    assert "comand" in usage_error(inner.run())


def test_a_scenario_package_that_is_none_is_a_usage_error(inner):
    inner.write(
        "broken-1.0.dist-info/entry_points.txt",
        """
        [drainproof.scenarios]
        theirs = no_such_package
        """,
    )
    inner.write("broken-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    assert "no_such_package" in usage_error(inner.run())


def test_a_report_that_cannot_be_loaded_is_a_usage_error(inner):
    inner.write(
        "broken-1.0.dist-info/entry_points.txt",
        """
        [drainproof.reports]
        theirs = no_such_report
        """,
    )
    inner.write("broken-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    assert "report 'theirs' (no_such_report) cannot be loaded" in usage_error(inner.run())


@pytest.mark.parametrize("option", ["--setup-only", "--setup-plan"])
def test_options_that_leave_out_the_checks_are_refused(inner, option):
    inner.scenarios(CHECK)
    result = inner.run(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {option} runs no check, so nothing would be judged.*"])


def test_without_a_target_whatever_needs_one_is_skipped(inner):
    inner.write(
        "test_own.py",
        """
        import pytest
        from drainproof.scenario import Inconclusive, requirement

        class TestMine:
            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment, stop_signal): return experiment.run()
            @requirement("DRAIN-1")
            def test_a_check(self, evidence): pass
            def test_none(self, evidence): pass
            def test_what_it_does_not_need(self): pass

        def test_the_target(target): pass
        @pytest.mark.parametrize("experiment", [1])
        def test_a_parameter(experiment): assert experiment == 1
        """,
    )
    inner.write(
        "test_others.py",
        """
        import pytest
        def test_a_mistake(experiment): pass
        """,
    )
    inner.write(
        "test_unrelated.py",
        """
        import pytest, drainproof
        @pytest.fixture
        def experiment(): return 1
        def test_it(experiment): assert experiment == 1
        """,
    )
    result = inner.run("-rsE", target=False)
    result.assert_outcomes(passed=3, skipped=3, errors=1)
    for line in (
        "ERROR test_others.py::test_a_mistake",
        "SKIPPED *: a check of drainproof: needs --target=FOLDER",
        "SKIPPED *: uses drainproof's fixture 'experiment': needs --target=FOLDER",
        "SKIPPED *: uses drainproof's fixture 'target': needs --target=FOLDER",
    ):
        result.stdout.fnmatch_lines([line])
