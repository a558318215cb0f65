"""Fail points: every kind of function, on each Python; when they fire; places that are wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shim.programs import MINORS, Program, interpreter

TARGET = """
    import asyncio, functools

    def function(a, *, b=2):
        "Says what it got."
        return ("function", a, b)

    def generator(a):
        got = yield a
        yield got

    async def coroutine(a, b=3):
        await asyncio.sleep(0)
        return ("coroutine", a, b)

    async def async_generator(a):
        try:
            got = yield a
            yield got
        except KeyError:
            yield "thrown"

    class Model:
        def method(self, a):
            return ("method", type(self).__name__, a)
        async def coroutine(self, a):
            return ("coroutine", type(self).__name__, a)
        @staticmethod
        def static(a):
            return ("static", a)
        @classmethod
        def made(cls, a):
            return ("made", cls.__name__, a)
        class Inner:
            def __call__(self, a):
                return ("called", a)

    class Other(Model):
        pass

    number = 3
"""

CALLS = """
    import asyncio, inspect, json
    from target import (  # by name: the wrapped ones must be there already
        Model, Other, async_generator, coroutine, function, generator
    )

    async def items(iterator):
        return [item async for item in iterator]

    calls = {
        "function": lambda: function(1, b=5),
        "generator": lambda: list(generator(1)),
        "coroutine": lambda: asyncio.run(coroutine(1)),
        "async_generator": lambda: asyncio.run(items(async_generator(1))),
        "method": lambda: Other().method(1),
        "bound": lambda: (lambda bound: bound(1))(Model().method),
        "Model.coroutine": lambda: asyncio.run(Model().coroutine(1)),
        "static": lambda: Other.static(1),
        "made": lambda: Other.made(1),
        "called": lambda: Model.Inner()(1),
    }

    def attempt(call):
        try:
            return call()
        except RuntimeError as problem:
            return str(problem)

    async def delegates():
        generator = async_generator(1)
        seen = [await generator.__anext__(), await generator.asend(7)]
        seen.append(await generator.athrow(KeyError()))
        await generator.aclose()
        return seen

    kinds = [
        inspect.iscoroutinefunction(coroutine), inspect.iscoroutinefunction(Model.coroutine),
        inspect.isasyncgenfunction(async_generator), inspect.isgeneratorfunction(generator),
        not inspect.iscoroutinefunction(function), isinstance(vars(Model)["static"], staticmethod),
        isinstance(vars(Model)["made"], classmethod), asyncio.iscoroutinefunction(coroutine),
    ]
    names = [str(inspect.signature(function)), function.__doc__, function.__qualname__, function.__wrapped__.__name__,
             str(inspect.signature(coroutine)), Model.coroutine.__qualname__, coroutine.__module__]
    results = {name: [attempt(call) for _ in range(3)] for name, call in calls.items()}
    print(json.dumps({"kinds": kinds, "names": names, "results": results, "delegates": asyncio.run(delegates())}))
"""

SITES = {
    "function": "function",
    "generator": "generator",
    "coroutine": "coroutine",
    "async_generator": "async_generator",
    "method": "Model.method",
    "Model.coroutine": "Model.coroutine",
    "static": "Model.static",
    "made": "Model.made",
    "called": "Model.Inner.__call__",
}


@pytest.mark.parametrize("minor", MINORS)
def test_the_second_call_of_every_kind_of_function_fails_and_no_other(minor: int, tmp_path: Path) -> None:
    program = Program(tmp_path, main=CALLS, target=TARGET)
    for name, site in SITES.items():
        program.arm(name, f"target:{site}", when={"call": 2})
    wrong = {"functoin": "function", "Model.metod": "Model.method", "Modell.method": "Model", "number": "", "Other": ""}
    for name in wrong:
        program.arm(name, f"target:{name}")
    got = program.run(interpreter(minor))

    assert all(got["kinds"]), got["kinds"]
    assert got["names"] == [
        "(a, *, b=2)",
        "Says what it got.",
        "function",
        "function",
        "(a, b=3)",
        "Model.coroutine",
        "target",
    ]
    assert got["delegates"] == [1, 7, "thrown"]
    good = {
        "function": ["function", 1, 5],
        "generator": [1, None],
        "coroutine": ["coroutine", 1, 3],
        "async_generator": [1, None],
        "method": ["method", "Other", 1],
        "Model.coroutine": ["coroutine", "Model", 1],
        "static": ["static", 1],
        "made": ["made", "Other", 1],
        "called": ["called", 1],
    }
    for name, answer in good.items():
        assert got["results"][name] == [answer, f"injected: {name}", answer]
    assert got["results"]["bound"] == [["method", "Model", 1]] * 3  # the shot was taken before

    reports = program.reports()
    for name, site in SITES.items():
        (fired,) = reports.fired(name)
        assert (fired["site"], fired["shot"], fired["exception"]) == (f"target:{site}", 1, "RuntimeError")
        assert "target.py:" in fired["where"] and site.rpartition(".")[2] in fired["where"]
        (armed,) = reports.all("armed", fault=name)
        assert armed["module_file"].endswith("target.py")
    missing = {report["fault"]: report for report in reports.all("missing")}
    assert set(missing) == set(wrong)
    for name, near in wrong.items():
        assert near in missing[name]["near"] or not near
    assert "int" in missing["number"]["because"]
    assert "class" in missing["Other"]["because"]
    assert not reports.all("trouble")


SEVERAL = """
    import json, os, sys
    from target import function

    def calls(count):
        failed = []
        for number in range(count):
            try:
                function(number)
            except BaseException as problem:
                failed.append([number, type(problem).__name__, str(problem)])
        return failed

    for _ in range(3):
        if os.fork() == 0:
            calls(100)
            os._exit(0)
    for _ in range(3):
        os.wait()
    print(json.dumps(calls(100)))
"""


def fired_in(program: Program, name: str) -> list[tuple[int, int]]:
    return [(report["pid"], report["shot"]) for report in program.reports().fired(name)]


def test_shots_are_counted_over_all_processes(tmp_path: Path) -> None:
    program = Program(tmp_path, main=SEVERAL, target=TARGET)
    program.arm("f", "target:function", when={"call": 90}, shots=6, exception="builtins:KeyboardInterrupt", message="")
    program.run(sys.executable)
    fired = fired_in(program, "f")
    assert sorted(shot for _, shot in fired) == [1, 2, 3, 4, 5, 6]
    assert {report["exception"] for report in program.reports().fired("f")} == {"KeyboardInterrupt"}


def test_chance_is_seeded(tmp_path: Path) -> None:
    failed = []
    for number, seed in enumerate((7, 7, 8)):
        (tmp_path / str(number)).mkdir()
        program = Program(tmp_path / str(number), main=SEVERAL.replace("range(3)", "range(0)"), target=TARGET)
        program.arm("f", "target:function", when={"probability": 0.2, "seed": seed}, shots=200)
        failed.append([call for call, *_ in program.run(sys.executable)])
    assert failed[0] == failed[1] != failed[2]
    assert 5 <= len(failed[0]) <= 40


def test_children_have_chances_of_their_own_and_the_same_ones_again(tmp_path: Path) -> None:
    """As with a server that forks for each request."""
    failed = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        program = Program(
            tmp_path / str(number),
            target=TARGET,
            main="""
            import json, os
            from target import function
            failed = []
            for number in range(60):
                child = os.fork()
                if not child:
                    try:
                        function(number)
                    except RuntimeError:
                        os._exit(1)
                    os._exit(0)
                if os.waitpid(child, 0)[1]:
                    failed.append(number)
            print(json.dumps(failed))
            """,
        )
        program.arm("f", "target:function", when={"probability": 0.3, "seed": 7}, shots=60)
        failed.append(program.run(sys.executable))
    assert failed[0] == failed[1]
    assert 6 <= len(failed[0]) <= 34


def test_a_place_of_the_program_itself_is_armed_when_its_loop_runs(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main="""
        import asyncio, json
        async def predict():
            return 1
        async def serve():
            try:
                await predict()
            except RuntimeError as problem:
                print(json.dumps(str(problem)))
        asyncio.run(serve())
        """,
    )
    program.arm("mine", "__main__:predict")
    assert program.run(sys.executable) == "injected: mine"


def test_modules_are_loaded_as_without_us(tmp_path: Path) -> None:
    """Also when they were imported before, fail at the first import, are reloaded, or are built in."""
    program = Program(
        tmp_path,
        main="""
        import importlib, json, sys, time
        results = []
        try:
            import fragile
        except ZeroDivisionError:
            results.append("fragile" in sys.modules)
        sys.healed = True
        import fragile
        loader = type(fragile.__loader__).__name__
        results += [loader, "exec_module" in vars(fragile.__loader__), fragile.__spec__.loader is fragile.__loader__]
        try:
            fragile.function()
        except RuntimeError as problem:
            results.append(str(problem))
        importlib.reload(fragile)
        results.append(fragile.function())
        import datetime, faulthandler, pwd, xxsubtype  # built in, as `time`, and not imported yet
        try:
            faulthandler.is_enabled()
        except RuntimeError as problem:
            results.append(str(problem))
        results.append(any("drainproof" in repr(finder) for finder in sys.meta_path))
        print(json.dumps(results))
        """,
        fragile="""
        import sys
        getattr(sys, "healed", False) or 1 / 0
        def function():
            return "served"
        """,
    )
    program.arm("fragile", "fragile:function")
    program.arm("os", "os:getcwdb")  # imported before the shim
    program.arm("time", "time:sleep")  # built in
    program.arm("compiled", "datetime:datetime.today")
    program.arm("builtin", "faulthandler:is_enabled")
    assert program.run(sys.executable) == [
        False,
        "SourceFileLoader",
        False,
        True,
        "injected: fragile",
        "served",
        "injected: builtin",
        False,
    ]
    assert {report["fault"] for report in program.reports().all("armed")} == {"fragile", "os", "time", "builtin"}
    assert "cannot be replaced" in program.reports().all("missing", fault="compiled")[0]["because"]
    assert not program.reports().all("trouble")


@pytest.mark.parametrize(
    ("exception", "why"),
    [("RuntimeEror", "has no attribute 'RuntimeEror'"), ("nowhere:Error", "nowhere"), ("builtins:int", "invalid")],
)
def test_an_exception_that_does_not_exist_is_trouble_and_raises_nothing(
    exception: str, why: str, tmp_path: Path
) -> None:
    program = Program(tmp_path, main=SEVERAL.replace("range(3)", "range(0)"), target=TARGET)
    program.arm("f", "target:function", exception=exception)
    program.arm("g", "nonsense")
    program.arm("h", "@nonsense")
    assert program.run(sys.executable) == []
    texts: list[Any] = [report["text"] for report in program.reports().all("trouble")]
    assert any(why in text for text in texts), texts
    assert any("@handler" in text for text in texts)
    assert "module:qualified.name" in program.reports().all("missing", fault="g")[0]["because"]
