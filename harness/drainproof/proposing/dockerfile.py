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
PORTS = range(1, 65536)
EXPOSED = re.compile(r"(?<!\S)(\d+)(?:-\d+)?(?:/tcp)?(?!\S)")
"""A port, or a range, of which the first one counts."""
URL = re.compile(r"https?://[^/\s'\"|)]+(/[^\s'\"|)]*)")


@dataclass
class Read:
    """What the last stage says."""

    exposed: list[int] = field(default_factory=list)
    no_ports: list[str] = field(default_factory=list)
    """What EXPOSE has that is no port."""
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
    elif named and int(named[1]) in PORTS:
        port = int(named[1])
    else:
        port = DEFAULT_PORT
        why = f"has EXPOSE {' '.join(seen.no_ports)}, which is no port" if seen.no_ports else "has no EXPOSE"
        todo.append(f"the port that it listens on inside: {name} {why}, {port} is a guess")
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
                for each in EXPOSED.finditer(rest):
                    if (first := int(each[1])) in PORTS:
                        seen.exposed.append(first)
                    else:
                        seen.no_ports.append(each[0])
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
