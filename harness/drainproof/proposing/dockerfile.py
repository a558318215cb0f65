"""Reads a Dockerfile for what the manifest needs: the ports inside, and the health check."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from drainproof.proposing.proposal import Ask, Container, Proposal

NAMES = ("Dockerfile", "Containerfile")
DEFAULT_PORT = 8000
PORT = re.compile(r"(?:--?(?:http[-_])?port|-p|--bind|-b|--host-port)[= ](?:\S*:)?(\d{2,5})\b")
URL = re.compile(r"https?://[^/\s'\"|)]+(/[^\s'\"|)]*)")


@dataclass
class Read:
    """What the last stage says."""

    exposed: list[int] = field(default_factory=list)
    start: str = ""
    """ENTRYPOINT and CMD as one text."""
    shell_form: bool = False
    """Whether a shell is in front of the server."""
    health_path: str | None = None


def propose(folder: Path) -> Proposal | None:
    """A manifest for the Dockerfile in `folder`; None where there is none."""
    name = next((name for name in NAMES if (folder / name).is_file()), None)
    if name is None:
        return None
    seen = read((folder / name).read_text(encoding="utf-8", errors="replace"))
    todo: list[str] = []
    named = PORT.search(seen.start)
    if seen.exposed:
        port = seen.exposed[0]
    elif named:
        port = int(named[1])
    else:
        port = DEFAULT_PORT
        todo.append(f"the port that it listens on inside: {name} has no EXPOSE, {port} is a guess")
    if seen.shell_form:
        todo.append(f"{name} starts it by a shell, which keeps the stop signal to itself: write the command as a list")
    what = [f"{name}", f"port {port}"] + ([f"started by `{seen.start}`"] if seen.start else [])
    return Proposal(
        kind="a container",
        found=(", ".join(what),),
        container=Container(dockerfile=name, ports={"http": port}),
        readiness=seen.health_path,
        requests=(Ask(method="GET", path="/"),),
        todo={"container": tuple(todo)} if todo else {},
    )


def read(text: str) -> Read:
    """The instructions of the last stage that matter here."""
    seen = Read()
    entry: list[str] = []
    command: list[str] = []
    for line in _instructions(text):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        match word.upper():
            case "FROM":
                seen, entry, command = Read(), [], []
            case "EXPOSE":
                seen.exposed += [int(p) for p in re.findall(r"\b(\d{1,5})(?:/tcp)?(?=\s|$)", rest)]
            case "ENTRYPOINT":
                entry, seen.shell_form = _words(rest)
                command = []
            case "CMD":
                command, shell = _words(rest)
                seen.shell_form = seen.shell_form or (shell and not entry)
            case "HEALTHCHECK":
                found = URL.search(rest)
                seen.health_path = found[1] if found else None
    seen.start = shlex.join([*entry, *command])
    return seen


def _instructions(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return re.sub(r"\\\s*\n", " ", "\n".join(lines)).splitlines()


def _words(rest: str) -> tuple[list[str], bool]:
    """The words of a command, and whether it is in shell form."""
    if rest.startswith("["):
        try:
            return [str(word) for word in json.loads(rest)], False
        except ValueError:
            pass  # Docker takes it for the shell form as well
    try:
        return shlex.split(rest), not rest.startswith("exec ")
    except ValueError:
        return rest.split(), True
