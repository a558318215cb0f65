"""Fail points that are callable, and yet no plain functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shim.programs import MINORS, Program, interpreter

TARGET = """
    import functools
    from elsewhere import Application

    class Mine(Application):
        pass

    class Task:
        "As libraries make them of a function."
        def __init__(self, function):
            functools.update_wrapper(self, function)
            self.function = function
        def __call__(self, *args):
            return self.function(*args)

    app = Mine()

    @Task
    def task():
        return "task"

    @functools.lru_cache(maxsize=None)
    def cached(number):
        return number

    class Model:
        @functools.lru_cache(maxsize=None)
        def cached(self, number):
            return number
        def predict(self, number):
            return number

    def two(a, b):
        return [a, b]

    partial = functools.partial(two, 1)
    bound = Model().predict
"""

ELSEWHERE = """
    class Application:
        async def __call__(self, scope, receive, send):
            pass
"""

MAIN = """
    import json
    import target

    def attempt(function, *args):
        try:
            return function(*args)
        except RuntimeError as problem:
            return str(problem)

    calls = {
        "cached": target.cached, "Model.cached": target.Model().cached, "partial": target.partial,
        "bound": target.bound,
    }
    results = {name: [attempt(function, 7) for _ in range(3)] for name, function in calls.items()}
    results["kinds"] = [type(target.app).__name__, type(target.task).__name__, target.task()]
    results["cache"] = [target.cached.cache_info().hits, target.cached.cache_clear(), target.cached.cache_info().hits]
    results["func"] = [target.partial.func.__name__, target.partial.args]
    print(json.dumps(results))
"""


@pytest.mark.parametrize("minor", MINORS)
def test_objects_are_left_what_they_are_and_their_method_is_told(minor: int, tmp_path: Path) -> None:
    program = Program(tmp_path, target=TARGET, elsewhere=ELSEWHERE, main=MAIN)
    for name in ("app", "task", "cached", "Model.cached", "partial", "bound"):
        program.arm(name, f"target:{name}", when={"call": 2})
    assert program.run(interpreter(minor)) == {
        "cached": [7, "injected: cached", 7],
        "Model.cached": [7, "injected: Model.cached", 7],
        "partial": [[1, 7], "injected: partial", [1, 7]],
        "bound": [7, "injected: bound", 7],
        "kinds": ["Mine", "Task", "task"],
        "cache": [1, None, 0],
        "func": ["two", [1]],
    }
    missing = {report["fault"]: report for report in program.reports().all("missing")}
    assert {name: (report["module"], report["near"]) for name, report in missing.items()} == {
        "app": ("elsewhere", ["Application.__call__"]),
        "task": ("target", ["Task.__call__"]),
    }
    assert all(report["because"] == "it is an object; name its method" for report in missing.values())
    assert not program.reports().all("trouble")
