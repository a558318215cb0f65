"""Which processes are workers: those that a pattern names, or those that are like the ones that were seen to serve.

A process that has just been born serves nobody yet, so what it is has to be told by what is there from its first moment
on: who its parent is, which program it runs, and with which arguments (numbers in them aside: descriptors, ids). That
keeps helpers out, which multiprocessing starts beside the workers: their arguments differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drainproof.probes.processes import ProcessSample

Likeness = tuple[int, str, str]
"""Parent, program and shape of the arguments."""


def shape(cmdline: Sequence[str]) -> str:
    """The arguments as one text, each number as `#`."""
    return re.sub(r"\d+", "#", " ".join(cmdline))


@dataclass(frozen=True, kw_only=True)
class Kin:
    """Recognises a target's workers."""

    main: int
    """The main process, which is no worker."""
    pattern: str | None = None
    """A regular expression for the command line; where there is one, it alone decides."""
    like: frozenset[Likeness] = frozenset()

    @classmethod
    def of(cls, *, main: int, workers: Iterable[ProcessSample]) -> Kin:
        """Those that are like these."""
        return cls(main=main, like=frozenset((one.ppid, one.exe, shape(one.cmdline)) for one in workers))

    def has(self, *, pid: int, parent: int, exe: str, cmdline: Sequence[str]) -> bool:
        """Whether this process is one of them."""
        if pid == self.main:
            return False
        if self.pattern is not None:
            return bool(re.search(self.pattern, " ".join(cmdline)))
        return (parent, exe, shape(cmdline)) in self.like

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {"main": self.main, "pattern": self.pattern, "like": sorted(map(list, self.like))}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Kin:
        """Reads what `to_json` wrote."""
        like = frozenset((int(parent), str(exe), str(form)) for parent, exe, form in value["like"])
        return cls(main=value["main"], pattern=value["pattern"], like=like)
