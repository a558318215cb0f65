"""The start method, preset before the target's first line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shim.programs import MINORS, Program, interpreter

MAIN = """
    import json, subprocess, sys
    import multiprocessing

    def report(queue):
        queue.put(multiprocessing.get_start_method(allow_none=True))

    if __name__ == "__main__":
        result = {"first line": multiprocessing.get_start_method(allow_none=True)}
        queue = multiprocessing.Queue()
        worker = multiprocessing.Process(target=report, args=(queue,))
        worker.start()
        result["worker"] = queue.get()
        worker.join()
        try:
            multiprocessing.set_start_method("fork")
        except RuntimeError as problem:
            result["set again"] = str(problem)
        code = "import multiprocessing as m; print(m.get_start_method(allow_none=True))"
        result["program"] = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        print(json.dumps(result))
"""

CASES = [
    (8, "spawn", "explicit"),
    (9, "forkserver", "implicit"),
    (10, "fork", "explicit"),
    (11, "fork", "implicit"),
    (12, "forkserver", "explicit"),
    (13, "spawn", "implicit"),
]
assert tuple(minor for minor, *_ in CASES) == MINORS


@pytest.mark.parametrize(("minor", "method", "how"), CASES)
def test_it_is_there_and_cannot_be_set_again(minor: int, method: str, how: str, tmp_path: Path) -> None:
    program = Program(tmp_path, main=MAIN)
    program.session.start_method = {"method": method, "how": how}
    assert program.run(interpreter(minor)) == {
        "first line": method,
        "worker": method,
        "set again": "context has already been set",
        "program": method,  # a program that the target starts is one, too
    }
    reports = program.reports()
    fired = reports.fired("start_method")
    programs = {each["pid"] for each in reports.interpreters if "from multiprocessing." not in " ".join(each["argv"])}
    assert len(programs) == 2
    assert {each["pid"] for each in fired} == programs  # and none of the interpreters that multiprocessing starts
    assert {(each["method"], each["how"]) for each in fired} == {(method, how)}
    argvs = {each["pid"]: each["argv"] for each in reports.interpreters}
    assert all(each["argv"] == argvs[each["pid"]] for each in fired)
    assert not reports.all("trouble")
