"""What was found out about a server, before it is a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = "{token}"
PYTHON = "{python}"


@dataclass(frozen=True, kw_only=True)
class Start:
    """How it is started as a process."""

    command: tuple[str, ...]
    cwd: str = "."
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[str, ...] = ("http",)
    deadline: float | None = None


@dataclass(frozen=True, kw_only=True)
class Container:
    """How its image is made."""

    dockerfile: str
    ports: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request."""

    method: str = "POST"
    path: str
    json: Any = None
    """None for no body: what is proposed never sends `null`."""
    token_comes_back: bool = False
    """Whether the answer was seen to hold the token of its request."""
    duration: float | None = None

    @property
    def words(self) -> str:
        """`POST /predict`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All of it. None: nobody could find it."""

    kind: str
    """What kind of server it is, in words."""
    found: tuple[str, ...]
    """What was seen, and where; for the user."""
    start: Start | None = None
    container: Container | None = None
    readiness: str | None = None
    liveness: str | None = None
    requests: tuple[Ask, ...] = ()
    """Candidates for the fast request, the best one first; the manifest gets the first that is answered rightly."""
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Further tables of the manifest by name, such as `workers`."""
    todo: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What is left to the user, by the table that it belongs to."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Files that have to be beside the manifest, by name."""

    def with_todo(self, table: str, *texts: str) -> Mapping[str, tuple[str, ...]]:
        """`todo` and `texts` at `table`."""
        return {**self.todo, table: (*self.todo.get(table, ()), *texts)}


def interpreter(folder: Path) -> str:
    """What starts Python for the server: the virtual environment in its folder, else the one that runs drainproof."""
    for name in (".venv", "venv", "env"):
        if (folder / name / "bin" / "python").exists():
            return f"{{folder}}/{name}/bin/python"
    return PYTHON
