"""When a fault fires: at the n-th call, with a probability, after a time, or on the experiment's command.

Design. The shots of a fault are counted over all processes of the target: a shot is taken by creating its file with
O_EXCL, which holds over fork, spawn and users, and needs no lock that a killed worker could keep. The experiment's
command is a byte of the file `control`, read with open, pread and close at each look. A shared mapping would be read
faster, but `mmap` keeps a descriptor of its own: servers that close all descriptors, or count them, would see it.
Looks are taken only while a fault that waits for a command is armed and has shots left.
"""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from types import CodeType
from typing import Any

from drainproof_shim import channel
from drainproof_shim.channel import system_close, system_open, system_pread
from drainproof_shim.plan import Fault

_MASK = (1 << 64) - 1


class Trigger:
    """Decides for one fault, in this process."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.spent = False  # no shot is left for anybody
        self.command = bool(fault.when.get("command"))
        self.after: float | None = fault.when.get("after")
        self.probability: float | None = fault.when.get("probability")
        self.call = int(fault.when.get("call") or 0)
        self.timed = self.command or self.after is not None  # can fire while nobody calls
        self._seed = int(self.fault.when.get("seed") or 0) & _MASK
        self._forks = 0
        self.begin()

    def forking(self) -> None:
        """This process is about to fork."""
        self._forks += 1

    def forked(self) -> None:
        """This process was just forked: it has a series of chances of its own, the n-th child always the same one.

        With its parent's, each of many short-lived children would draw the same first number.
        """
        self._seed = _mixed(self._seed + self._forks * 0x9E3779B97F4A7C15)
        self._forks = 0
        self.begin()

    def begin(self) -> None:
        """Begin anew."""
        self._born = channel.now()
        self._calls = itertools.count(1)
        self._random = self._seed

    @channel.guarded
    def due_at_call(self) -> bool:
        """Whether the call that is just being made shall fail. Counts it."""
        if self.call:
            return next(self._calls) >= self.call
        if self.probability is not None:
            return self._chance() < self.probability
        return self.due_now()

    @channel.guarded
    def due_now(self) -> bool:
        """Whether the time has come, or the command was given, and a shot is left."""
        if self.spent:
            return False
        if self.after is not None:
            return channel.now() - self._born >= self.after
        return self.command and self._granted() > 0

    @channel.guarded
    def fire(self, *, site: str, where: str, task: Any = None) -> BaseException | None:
        """Take a shot, report it, and give the exception to raise; None when no shot is left to take.

        Nothing is raised that was not reported before: a fault without proof would be blamed on the target.
        """
        try:
            problem = self._exception()
            shot = self._claim()
            if not shot:
                return None
            threading = sys.modules.get("threading")
            name = type(problem).__name__
            proven = channel.report(
                "fired",
                fault=self.fault.name,
                site=site,
                shot=shot,
                exception=name if type(problem).__module__ == "builtins" else type(problem).__module__ + ":" + name,
                thread=threading.current_thread().name if threading else "MainThread",
                task=task.get_name() if hasattr(task, "get_name") else None,
                where=where,
            )
        except Exception as trouble:
            channel.trouble("cannot fire {!r}".format(self.fault.name), trouble)
            return None
        return problem if proven else None

    def _exception(self) -> BaseException:
        module, _, name = self.fault.exception.rpartition(":")
        kind: Any = importlib.import_module(module or "builtins")
        for part in name.split("."):
            kind = getattr(kind, part)
        problem = kind(self.fault.message) if self.fault.message else kind()
        if not isinstance(problem, BaseException):
            raise TypeError("{} is no exception".format(self.fault.exception))
        return problem

    def _claim(self) -> int:
        most = min(self.fault.shots, self._granted()) if self.command else self.fault.shots
        for shot in range(1, most + 1):
            path = "{}/claims/{}-{}".format(channel.folder(), self.fault.name.replace("/", "_"), shot)
            try:
                system_close(system_open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                continue
            return shot
        self.spent = most >= self.fault.shots
        return 0

    def _granted(self) -> int:
        try:
            file = system_open(channel.folder() + "/control", os.O_RDONLY)
            try:
                return system_pread(file, 1, self.fault.index)[0]
            finally:
                system_close(file)
        except (OSError, IndexError):
            return 0

    def _chance(self) -> float:
        """The next number of SplitMix64 in [0, 1): `random` has a state that the target may use, and save."""
        self._random = (self._random + 0x9E3779B97F4A7C15) & _MASK
        return (_mixed(self._random) >> 11) / float(1 << 53)


def _mixed(z: int) -> int:
    z &= _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def place(code: CodeType | None, line: int | None = None) -> str:
    """`file:line in function` of some code."""
    if code is None:
        return "?"
    return "{}:{} in {}".format(
        code.co_filename, code.co_firstlineno if line is None else line, getattr(code, "co_qualname", code.co_name)
    )
