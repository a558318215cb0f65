"""What starts instances of a target: as a process, in a container, or as a systemd unit would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.modes import LaunchMode


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A folder of this machine that the target sees as well."""

    source: Path
    inside: str
    """Where it is in a container."""
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What one experiment changes of the way in which the target is started."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the declared variables; values may hold placeholders."""
    arguments: Sequence[str] = ()
    """Added to the end of the command; may hold placeholders."""
    mounts: Sequence[Mount] = ()
    """Only in containers: a process sees this machine's folders as they are."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the docker SDK for the container (`read_only`, `mem_limit`, …); only in containers."""


UNCHANGED = Changes()
"""The target as its manifest has it."""


class Launcher(Protocol):
    """Starts instances. One serves a whole session."""

    @property
    def mode(self) -> LaunchMode:
        """How it launches."""
        ...

    def launch(
        self,
        *,
        target: Target,
        ports: Mapping[str, int],
        output: Path,
        workers: int = 1,
        changes: Changes = UNCHANGED,
        tmp: Path | None = None,
    ) -> Instance:
        """Starts an instance of `target` and returns once its main process runs. The caller calls `end`.

        `ports` are the numbers on 127.0.0.1 that it shall be reached at; `output` is the file to write, in a folder
        that exists; `tmp` is a folder of its own for temporary files, which must not exist (None: a fresh name).
        Raises CommandNotStarted, Unsupported or HarnessError; nothing is left behind then.
        """
        ...

    def inherited(self, variable: str) -> str | None:
        """The value of an environment variable that the target has without anybody declaring it."""
        ...

    def seen(self, folder: Path, *, inside: str) -> str:
        """The path of a folder as the target will see it, where it is mounted at `inside` if it is in a container."""
        ...

    def close(self) -> None:
        """Ends what the instances shared, and removes what is left of it. Idempotent."""
        ...
