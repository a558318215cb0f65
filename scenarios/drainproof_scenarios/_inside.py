"""Whether drainproof's shim is in the very processes that serve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drainproof.errors import PortTaken
from drainproof.scenario import Evidence, Experiment, LaunchError, Unsupported
from drainproof.shim.reports import ShimReports

NOTED = 64
"""Words of its command line that an interpreter reports."""

LONGEST = 4000
"""Characters that it reports of each."""


def evidence_of_failed_start(experiment: Experiment, error: LaunchError) -> Evidence:
    """The evidence of a start that failed, for scenarios that are about starting.

    Raises `error` again where it says nothing of the target: nothing was launched, or a stranger held the port.
    """
    folder = experiment.folder
    if isinstance(error, PortTaken) or folder is None or Evidence(folder).find("launch") is None:
        raise error
    return Evidence(folder)


def require_shim_in_servers(shim: ShimReports, servers: Mapping[str, Any], *, what: str, fired: str = "") -> None:
    """Raises Unsupported, beginning with `what`, where a process that serves is not one that the shim reported from.

    `servers`: the event of that name. `fired`: what the process must have reported as done, if anything.

    A pid is not enough: a launcher that has reported may become another program under the same pid (exec). So the
    command line that it serves with must be the one that its newest interpreter, or the one that it was forked from,
    reported. A program may give itself a title instead (setproctitle); what does not begin with a path nor with the
    name of an interpreter is taken for one. What cannot be told: a program that is exec'ed under a name without a
    path, and an interpreter that is exec'ed with the same command line and another environment.
    """
    lines = servers.get("command_lines", {})
    own_pids = servers.get("own_pids", {})
    sound = _sound(shim, fired)
    for pid in servers["pids"]:
        line, own = lines.get(str(pid), []), own_pids.get(str(pid), pid)
        if own not in sound or not _is_still(line, sound[own]):
            raise Unsupported(
                f"{what} (pid {pid}): it is no Python program, or its Python did not load drainproof's shim, as with "
                "-I, -E or -S"
            )


def _sound(shim: ShimReports, fired: str) -> dict[int, list[str]]:
    """The processes that the shim is in, and reported `fired` from, with the command line of their interpreter."""
    loaded: dict[int, list[str]] = {}
    done: set[int] = set()
    for report in shim.lines:
        pid, event = int(report["pid"]), report["event"]
        parent = int(report.get("ppid") or 0)
        if event == "hello":  # another program now: what the pid has done before does not count
            loaded[pid] = list(report.get("argv") or ())
            done.discard(pid)
        elif event == "forked":
            loaded[pid] = loaded.get(parent, [])
            done |= {pid} if parent in done else set()
        elif event == "fired" and report.get("fault") == fired:
            done.add(pid)
    return {pid: argv for pid, argv in loaded.items() if not fired or pid in done}


def _is_still(line: Sequence[str], reported: Sequence[str]) -> bool:
    """Whether a process with this command line runs the interpreter that reported the other one."""
    if not line:
        return True  # it had ended when it was looked at, so it cannot be told
    if any(re.fullmatch(r"-[A-Za-z]*[IES][A-Za-z]*", word) for word in _options(line)):
        return False
    if not any(reported) or [word[:LONGEST] for word in line[:NOTED]] == list(reported):
        return True
    first = (line[0].split() or [""])[0]  # a title comes as one text, or as its words
    return "/" not in first and not _is_interpreter(first)


def _is_interpreter(word: str) -> bool:
    return re.match(r"python|pypy", word.rpartition("/")[2]) is not None


def _options(command_line: Sequence[str]) -> Iterator[str]:
    """The options of the interpreter itself, before its script, module or code."""
    if not _is_interpreter(command_line[0]):
        return
    for word in command_line[1:]:
        if not word.startswith("-") or word in ("-m", "-c"):
            return
        yield word
