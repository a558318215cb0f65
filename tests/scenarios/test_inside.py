"""A process counts as one that the shim is in only while it runs the interpreter that reported."""

from __future__ import annotations

from typing import Any

import pytest
from drainproof.scenario import Unsupported
from drainproof.shim.reports import ShimReports
from drainproof_scenarios._inside import require_shim_in_servers

OWN = ["/usr/bin/python3", "server.py"]


def hello(pid: int, argv: list[str]) -> dict[str, Any]:
    return {"event": "hello", "t": 1.0, "pid": pid, "ppid": 1, "argv": argv}


def fired(pid: int) -> dict[str, Any]:
    return {"event": "fired", "t": 1.1, "pid": pid, "fault": "windows"}


def forked(pid: int, parent: int) -> dict[str, Any]:
    return {"event": "forked", "t": 1.2, "pid": pid, "ppid": parent}


def require(lines: list[dict[str, Any]], serves_as: list[str], *, pid: int = 7) -> None:
    servers = {"pids": [pid], "declared": 1, "command_lines": {str(pid): serves_as}}
    require_shim_in_servers(ShimReports(tuple(lines)), servers, what="not seen", fired="windows")


@pytest.mark.parametrize(
    ("lines", "serves_as"),
    [
        ([hello(7, OWN), fired(7)], OWN),
        ([hello(7, OWN), fired(7), hello(7, ["python3", "b.py"]), fired(7)], ["python3", "b.py"]),
        ([hello(6, OWN), fired(6), forked(7, 6)], OWN),
        ([hello(7, OWN), fired(7)], ["server: worker [app]"]),
        ([hello(7, OWN), fired(7)], ["server:", "worker", "[app]"]),
        ([hello(7, OWN), fired(7)], []),
        ([hello(7, []), fired(7)], ["/usr/bin/embedding", "--http"]),
        ([hello(7, ["python3", *"x" * 63]), fired(7)], ["python3", *"x" * 80]),
    ],
    ids=["itself", "another interpreter", "forked", "title", "words of a title", "gone", "embedded", "long"],
)
def test_what_runs_the_interpreter_that_reported_counts(lines: list[dict[str, Any]], serves_as: list[str]) -> None:
    require(lines, serves_as)


@pytest.mark.parametrize(
    ("lines", "serves_as"),
    [
        ([hello(7, OWN), fired(7)], ["/usr/bin/python3", "-I", "server.py"]),
        ([hello(7, OWN), fired(7)], ["/usr/bin/python3", "-Es", "server.py"]),
        ([hello(7, OWN), fired(7)], ["python3", "other.py"]),
        ([hello(7, OWN), fired(7)], ["/opt/native/server", "--http"]),
        ([hello(7, OWN), fired(7), hello(7, ["python3", "b.py"])], ["python3", "b.py"]),
        ([hello(6, OWN), fired(6), forked(7, 6)], ["/usr/bin/python3", "-I", "worker.py"]),
        ([hello(6, OWN), forked(7, 6)], OWN),
        ([hello(6, OWN), fired(6)], OWN),
    ],
    ids=["-I", "-Es", "python", "native", "not done again", "forked and exec'ed", "forked before", "unknown"],
)
def test_what_has_become_another_program_does_not(lines: list[dict[str, Any]], serves_as: list[str]) -> None:
    with pytest.raises(Unsupported, match=r"not seen \(pid 7\)"):
        require(lines, serves_as)
