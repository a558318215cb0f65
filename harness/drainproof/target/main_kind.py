"""What the main process is: the server itself, a shell, or a wrapper around the server.

It matters because a stop signal goes to the main process. A shell does not pass it on, and neither does many a wrapper;
then what looks like a server without a drain is a command line that hides it.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

Kind = Literal["server", "shell", "init", "wrapper"]

SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "fish", "csh", "tcsh", "busybox"})

INITS = frozenset({"docker-init", "tini", "tini-static", "dumb-init", "catatonit", "init"})
"""What is put in front of a server as PID 1 of a container: it passes signals on and reaps orphans."""


class MainKind(NamedTuple):
    """The kind, and a sentence for the reader of a report."""

    kind: Kind
    sentence: str


def kind_of_main(*, main: int, processes: Collection[psutil.Process], listeners: Collection[int]) -> MainKind:
    """Judges the main process by the living tree, and by the pids in it that hold a listener.

    A process that holds a listener is a server, whatever it is. Else it is a *shell* if its program is one and it has a
    child, and a *wrapper* if the way down to the listener is a chain of only children that were started from another
    command line. Children that a server forked, or made with multiprocessing, are its workers.
    """
    if main in listeners:
        return MainKind("server", "the main process holds the listener")
    children: dict[int, list[psutil.Process]] = {}
    tree = {process.pid: process for process in processes}
    for process in processes:
        try:
            children.setdefault(process.ppid(), []).append(process)
        except psutil.Error:
            continue
    if main not in tree:
        return MainKind("server", "the main process has ended")
    below = children.get(main, [])
    if not below:
        return MainKind("server", "the main process has no children")
    name = _program(tree[main])
    if name in SHELLS:
        return MainKind(
            "shell",
            f"the main process is a shell ({name}), and the server its child (pid {below[0].pid}): a shell does not "
            f"pass signals on; write the command as a list, or with `exec`",
        )
    if name in INITS:
        return MainKind("init", f"the main process is an init ({name}), which passes signals on to its child")
    chain = [tree[main]]
    while len(below) == 1 and chain[-1].pid not in listeners:
        chain.append(below[0])
        below = children.get(below[0].pid, [])
    server = chain[-1]
    if len(chain) > 1 and server.pid in listeners and not _workers(chain):
        return MainKind(
            "wrapper",
            f"the main process ({name}) is a wrapper around the server (pid {server.pid}, {_program(server)}), which "
            f"holds the listener: whether a signal reaches it is up to the wrapper",
        )
    return MainKind("server", "the main process supervises the processes that hold the listener")


def _program(process: psutil.Process) -> str:
    try:
        return Path(process.exe()).name or process.name()
    except psutil.Error:
        try:
            return process.name()
        except psutil.Error:
            return "?"


def _workers(chain: list[psutil.Process]) -> bool:
    """Whether they are one program: forked from each other, or started by multiprocessing."""
    for above, below in pairwise(chain):
        try:
            command = below.cmdline()
            if command != above.cmdline() and not any("multiprocessing" in part for part in command[:4]):
                return False
        except psutil.Error:
            return False
    return True
