"""What runs: scenarios alone, scenarios by name, and a user's own scenario files."""

from __future__ import annotations

import json
import shlex

import pytest

TWO_CHECKS = """
class TestStop:
    '''{stop_signal} to {recipient} under load, {workers}.'''

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, stop_signal, recipient, workers):
        return experiment.run(given=[stop_signal, recipient, workers])

    @requirement("DRAIN-1")
    def test_answers(self, evidence): pass

    @requirement("EXIT-1")
    def test_exits(self, evidence, stop_signal, recipient, workers):
        assert evidence.given == [stop_signal, recipient, workers]
"""
PLAIN = """
class Test{}:
    @requirement("{}")
    def test_it(self, target): pass
"""
VARIANTS = [f"{s}-{r}-{w}w" for s in ("SIGTERM", "SIGINT") for r in ("main", "group") for w in (1, 2)]


def test_scenarios_are_parametrised_from_the_target(inner):
    inner.scenarios(TWO_CHECKS)
    assert inner.run().ret == 0
    assert list(inner.verdicts()) == [
        f"drain.TestStop[{variant}]::{check}" for variant in VARIANTS for check in ("test_answers", "test_exits")
    ]
    titles = {v["scenario"]: v["title"] for v in inner.results()["verdicts"]}
    assert titles["drain.TestStop[SIGTERM-main-1w]"] == "SIGTERM to the main process under load, 1 worker"
    assert titles["drain.TestStop[SIGINT-group-2w]"] == "SIGINT to the whole process group under load, 2 workers"


def test_each_scenario_has_one_experiment_and_its_verdicts_name_it(inner):
    inner.scenarios(TWO_CHECKS)
    inner.run()
    folders = {path.name for path in inner.evidence().iterdir() if path.is_dir()}
    assert folders == {f"drain.TestStop[{variant}]" for variant in VARIANTS}
    for verdict in inner.results()["verdicts"]:
        assert (inner.report / verdict["evidence"]).name == verdict["scenario"]
    assert (inner.evidence() / "closed").exists()


def test_an_author_may_have_parameters_of_their_own(inner):
    inner.scenarios("""
        @pytest.mark.parametrize("moment", ["at once", "20%"], scope="class")
        class TestStart:
            "SIGTERM at {moment}, {workers}."

            @pytest.fixture(scope="class")
            @classmethod
            def evidence(cls, experiment, moment, workers):
                return experiment.run(moment=moment)

            @requirement("START-4")
            @pytest.mark.parametrize("port", [80, 81])
            def test_it(self, evidence, moment, port):
                assert evidence.moment == moment
        """)
    assert inner.run().ret == 0
    assert list(inner.verdicts()) == [
        f"drain.TestStart[{moment}-{workers}w]::test_it[{port}]"
        for moment in ("at once", "20%")
        for workers in (1, 2)
        for port in (80, 81)
    ]
    verdict = inner.results()["verdicts"][-1]
    assert verdict["title"] == "SIGTERM at 20%, 2 workers"
    inner.run(*shlex.split(verdict["repeat"])[2:])
    assert list(inner.verdicts()) == [f"drain.TestStart[20%-2w]::test_it[{port}]" for port in (80, 81)]


def test_the_ports_of_the_target_are_a_parameter_too(inner):
    inner.scenarios("""
        class TestPortTaken:
            "The {port_name} port is taken."
            @requirement("START-3")
            def test_it(self, experiment, port_name): pass
        """)
    inner.run()
    assert list(inner.verdicts()) == ["drain.TestPortTaken[http]::test_it"]


@pytest.mark.parametrize("order", [[], ["-p", "shuffle"]])
def test_checks_of_a_scenario_stay_together(inner, order):
    inner.write(
        "shuffle.py",
        """
        import pytest
        @pytest.hookimpl(wrapper=True)
        def pytest_collection_modifyitems(items):
            yield
            items.sort(key=lambda item: hash(item.nodeid))
        """,
    )
    inner.scenarios(TWO_CHECKS)
    assert inner.run(*order).ret == 0
    assert set(inner.verdicts().values()) == {"pass"}  # the stand-in refuses to run an experiment twice


def test_failed_ones_first_and_only_failed_ones(inner):
    inner.scenarios(TWO_CHECKS.replace("assert evidence.given ==", "assert workers == 2, evidence.given #"))
    assert inner.run().ret == 1
    inner.run("--ff")
    assert len(inner.verdicts()) == 16
    assert next(iter(inner.results()["verdicts"]))["verdict"] == "fail"
    inner.run("--lf")
    assert set(inner.verdicts()) == {f"drain.TestStop[{v}]::test_exits" for v in VARIANTS if v.endswith("1w")}


def test_only_scenarios_run_without_paths(inner):
    inner.scenarios(PLAIN.format("One", "DRAIN-1"))
    inner.write("test_own.py", "raise RuntimeError('the user own tests must not be imported')")
    inner.write("tests/test_own.py", "raise RuntimeError('the user own tests must not be imported')")
    inner.write(
        "pytest.ini",
        """
        [pytest]
        testpaths = tests
        python_files = check_*.py
        python_classes = Check
        python_functions = check
        norecursedirs = standin_scenarios
        addopts = --strict-markers -m unit -k nothing -n 4 --deselect standin_scenarios -x
        markers = unit: of the user
        filterwarnings = error
        """,
    )
    result = inner.run()
    assert result.ret == 0
    assert inner.verdicts() == {"drain.TestOne::test_it": "pass"}


def test_a_conftest_does_not_interfere_with_scenarios(inner):
    inner.scenarios(TWO_CHECKS)
    inner.write(
        "conftest.py",
        """
        import pytest
        @pytest.fixture(autouse=True)
        def database(): raise RuntimeError("no database")
        @pytest.fixture
        def target(): raise RuntimeError("theirs")
        @pytest.fixture(scope="class")
        def experiment(): raise RuntimeError("theirs")
        @pytest.fixture
        def workers(): raise RuntimeError("theirs")
        """,
    )
    assert inner.run().ret == 0
    assert set(inner.verdicts().values()) == {"pass"}


def test_warnings_are_no_errors_in_scenarios(inner):
    inner.write("pytest.ini", "[pytest]\nfilterwarnings = error\n")
    inner.scenarios("""
        import warnings
        class TestIt:
            @requirement("DRAIN-1")
            def test_it(self): warnings.warn("beware")
        """)
    assert inner.run().ret == 0


def test_selection_by_module_requirement_and_id(inner):
    inner.scenarios(PLAIN.format("One", "DRAIN-1") + PLAIN.format("OneMore", "EXIT-1"), module="drain")
    inner.scenarios(PLAIN.format("One", "START-1"), module="start")
    for expression, expected in {
        "drain": {"drain.TestOne", "drain.TestOneMore"},
        "START-1": {"start.TestOne"},
        "EXIT-1 or START-1": {"drain.TestOneMore", "start.TestOne"},
        "drain.TestOneMore": {"drain.TestOneMore"},
        "standin": set(),
        "requirement": set(),
    }.items():
        inner.run("-k", expression)
        assert {v["scenario"] for v in inner.results()["verdicts"]} == expected, expression


def test_the_command_that_repeats_a_scenario_runs_just_that(inner):
    inner.scenarios(
        TWO_CHECKS + PLAIN.format("StopTwice", "DRAIN-9") + PLAIN.format("Stop2", "DRAIN-9"), module="drain"
    )
    inner.scenarios(TWO_CHECKS, module="start")
    inner.run()
    commands = {v["scenario"]: v["repeat"] for v in inner.results()["verdicts"]}
    assert len(commands) == 18
    for scenario in ("drain.TestStop[SIGTERM-main-1w]", "start.TestStop[SIGINT-group-2w]", "drain.TestStop2"):
        words = shlex.split(commands[scenario])
        assert words[:2] == ["pytest", "--target=server"]
        inner.run(*words[1:], target=False)
        assert {v["scenario"] for v in inner.results()["verdicts"]} == {scenario}


def test_markers_on_the_command_line_are_heeded(inner):
    inner.scenarios("""
        class TestIt:
            @requirement("DRAIN-1")
            @pytest.mark.slow
            def test_slow(self): pass
            @requirement("DRAIN-2")
            def test_fast(self): pass
        """)
    inner.run("-m", "not slow")
    assert list(inner.verdicts()) == ["drain.TestIt::test_fast"]


def test_what_a_scenario_package_may_hold(inner):
    inner.scenarios("""
        from standin_scenarios._helpers import Base, agree
        from standin_scenarios.start import TestOne as Imported, TestOne

        class TestDerived(Base):
            @requirement("DRAIN-2")
            def test_more(self, shared): agree(1, 2)

        @requirement("DRAIN-3")
        def test_alone(experiment):
            '''A check without a class.'''
            experiment.run()

        def helper(): raise RuntimeError
        class NotATest: pass
        """)
    inner.write(
        "standin_scenarios/_helpers.py",
        """
        from standin import requirement
        class Base:
            @requirement("DRAIN-1")
            def test_inherited(self): pass
        def agree(a, b): assert a == b
        """,
    )
    inner.write("standin_scenarios/conftest.py", "import pytest\n@pytest.fixture(autouse=True)\ndef shared(): return 1")
    inner.scenarios(PLAIN.format("One", "START-1"), module="start")
    inner.write("standin_scenarios/deeper/__init__.py", "")
    inner.scenarios(PLAIN.format("Two", "START-2"), module="deeper/more")
    inner.write("standin_scenarios/empty.py", "")
    inner.run()
    assert inner.verdicts() == {
        "deeper.more.TestTwo::test_it": "pass",
        "drain.TestDerived::test_inherited": "pass",
        "drain.TestDerived::test_more": "fail",
        "drain.test_alone::test_alone": "pass",
        "start.TestOne::test_it": "pass",
    }
    failed = next(v for v in inner.results()["verdicts"] if v["verdict"] == "fail")
    assert "assert 1 == 2" in failed["details"]  # assertions are rewritten in helpers too


def test_a_module_that_cannot_be_imported_is_an_error(inner):
    inner.scenarios("import no_such_module")
    result = inner.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*scenario module standin_scenarios.drain cannot be imported:*", "*no_such_module*"])
    assert inner.results()["aborted"]


def test_an_unknown_requirement_is_a_usage_error(inner):
    inner.scenarios(PLAIN.format("One", "DRAIN-99"))
    result = inner.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(['*there is no requirement "DRAIN-99"*'])


OWN = """
import pytest
from standin import requirement

class TestMine:
    '''Mine, {workers}.'''

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment, workers):
        return experiment.run(workers=workers)

    @requirement("DRAIN-1")
    def test_mine(self, evidence, facts, target):
        facts(workers=evidence.workers)
        assert target.name == "standin"

def test_ordinary(): pass
"""


def test_a_users_own_scenario_files(inner):
    inner.scenarios(PLAIN.format("One", "DRAIN-1"))
    inner.write("tests/drain/test_own.py", OWN)
    result = inner.run("tests")
    assert result.ret == 0
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["tests/drain/test_own.py ...*"])  # with other tests among the checks: pytest's output
    verdict = inner.results()["verdicts"][1]
    assert verdict["scenario"] == "tests.drain.test_own.TestMine[2w]"
    assert verdict["facts"] == {"workers": 2}
    inner.run(*shlex.split(verdict["repeat"])[2:])
    assert list(inner.verdicts()) == ["tests.drain.test_own.TestMine[2w]::test_mine"]


def test_a_users_own_options_apply_to_their_files(inner):
    inner.write("pytest.ini", "[pytest]\naddopts = -k mine\npython_files = check_*.py\n")
    inner.write("tests/check_own.py", OWN)
    inner.run("tests").assert_outcomes(passed=2, deselected=1)


@pytest.mark.parametrize(
    "argument",
    [
        "standin_scenarios/drain.py",
        "standin_scenarios/drain.py::TestStop",
        "standin_scenarios/drain.py::TestStop::test_answers[SIGTERM-main-1w]",
    ],
)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_scenarios_by_node_id(inner, argument, elsewhere, monkeypatch):
    inner.scenarios(TWO_CHECKS)
    inner.scenarios(PLAIN.format("One", "START-1"), module="start")
    inner.write("pytest.ini", "[pytest]\naddopts = -k nothing\n")
    if elsewhere:
        away = inner.path / "site-packages"
        away.mkdir()
        (inner.path / "standin_scenarios").rename(away / "standin_scenarios")
        monkeypatch.setenv("STANDIN", str(away))
        inner.pytester.syspathinsert(away)
    inner.run(argument)
    assert len(inner.verdicts()) == (1 if "[" in argument else 16)
    assert {v["scenario"].partition("[")[0] for v in inner.results()["verdicts"]} == {"drain.TestStop"}


@pytest.mark.parametrize("args", [[], ["standin_scenarios/drain.py"], ["tests", "standin_scenarios"]])
def test_conftests_around_a_virtual_environment_are_not_loaded(inner, args, monkeypatch, tmp_path_factory):
    """The environment may be shared: what is above its site-packages belongs to somebody else."""
    inner.scenarios("""
        class TestOne:
            @requirement("DRAIN-1")
            def test_it(self, own): assert own == 1
        """)
    inner.write("standin_scenarios/conftest.py", "import pytest\n@pytest.fixture\ndef own(): return 1")
    inner.write("standin_scenarios/deeper/__init__.py", "")
    inner.scenarios(PLAIN.format("Two", "DRAIN-2"), module="deeper/more")
    inner.write("tests/conftest.py", "import pytest\n@pytest.fixture\ndef theirs(): return 2")
    inner.write("tests/test_own.py", "def test_own(theirs): assert theirs == 2")
    shared = tmp_path_factory.mktemp("shared")
    away = shared / "venv" / "site-packages"
    away.mkdir(parents=True)
    for folder in (shared, away.parent, away):
        (folder / "conftest.py").write_text("raise RuntimeError('not for us')")
    (inner.path / "standin_scenarios").rename(away / "standin_scenarios")
    monkeypatch.setenv("STANDIN", str(away))
    inner.pytester.syspathinsert(away)
    assert inner.run(*args).ret == 0
    assert inner.verdicts()["drain.TestOne::test_it"] == "pass"
    assert ("deeper.more.TestTwo::test_it" in inner.verdicts()) == (args != ["standin_scenarios/drain.py"])


def test_collecting_alone_writes_nothing(inner):
    inner.scenarios(TWO_CHECKS)
    result = inner.run("--collect-only", "-q")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["standin_scenarios/drain.py::TestStop::test_answers[[]SIGTERM-main-1w[]]"])
    assert not inner.report.exists()


def test_a_scenario_package_of_a_third_party(inner):
    inner.scenarios(PLAIN.format("One", "DRAIN-1"))
    inner.write("acme/__init__.py", "")
    inner.write("acme/scenarios/__init__.py", "")
    inner.write(
        "acme/scenarios/drain.py", "import pytest\nfrom standin import requirement\n" + PLAIN.format("One", "EXIT-1")
    )
    inner.write(
        "acme-1.0.dist-info/entry_points.txt",
        """
        [drainproof.scenarios]
        acme = acme.scenarios
        """,
    )
    inner.write("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    assert inner.run().ret == 0
    assert list(inner.verdicts()) == ["drain.TestOne::test_it", "acme.scenarios.drain.TestOne::test_it"]
    commands = {v["scenario"]: v["repeat"] for v in inner.results()["verdicts"]}
    for scenario, command in commands.items():
        inner.run(*shlex.split(command)[2:])
        assert [v["scenario"] for v in inner.results()["verdicts"]] == [scenario]


def test_what_was_selected_is_saved(inner):
    inner.scenarios(TWO_CHECKS)
    inner.run("-k", "test_answers and main")
    saved = json.loads((inner.evidence() / "session.json").read_text())
    assert saved["checks"] == {f"drain.TestStop[{v}]": ["test_answers"] for v in VARIANTS if "main" in v}
    assert saved["target"]["name"] == "standin"
