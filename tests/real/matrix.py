"""The table of requirements and servers, as the server folders declare it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from tests.real.runs import BROKEN, ROOT, SERVERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCENARIOS = ROOT / "scenarios" / "drainproof_scenarios"


def servers() -> list[Path]:
    """conforming/ and every broken server, by their folders."""
    return [SERVERS / "conforming", *sorted(path.parent for path in BROKEN.glob("*/drainproof.toml"))]


def declared(server: Path) -> dict[str, Any]:
    """What `expected.toml` of a broken server says."""
    return tomllib.loads((server / "expected.toml").read_text(encoding="utf-8"))


def expected_inconclusive(server: Path) -> set[str]:
    """The requirements that the defect of `server` keeps from being judged in some scenario."""
    return set() if server.parent != BROKEN else set(declared(server).get("inconclusive", []))


def defect(server: Path) -> str:
    """What is wrong with a broken server: the first line of its module docstring, without the ids."""
    first = (server / "server.py").read_text(encoding="utf-8").partition("\n")[0].strip('"')
    return re.sub(r" \([A-Z0-9, -]+\)\.?$", ".", first)


def expected_failures(server: Path) -> set[str]:
    """The requirements that `server` must fail; empty for conforming/."""
    return set() if server.parent != BROKEN else set(declared(server)["fails"])


def in_container(server: Path) -> bool:
    """Whether it is launched in a container by its manifest, and in no other way."""
    manifest = tomllib.loads((server / "drainproof.toml").read_text(encoding="utf-8"))
    return "container" in manifest and "start" not in manifest


CORE = ("start", "drain")
"""The families of scenarios that every broken server goes through that is launched as a process.

What is broken in a container is often the stop itself, and then nothing of the core can hold.
"""


def families(server: Path) -> list[str]:
    """The families (modules) of scenarios for a broken server: the core, and all that judge what it breaks.

    All families on all servers are more than an hour of work for two cores; DRAINPROOF_WHOLE_MATRIX=1 asks for them.
    """
    broken = expected_failures(server) | expected_inconclusive(server)
    core = () if in_container(server) else CORE
    return [name for name, judged in judged_by_family().items() if name in core or judged & broken]


def judged_by_family() -> dict[str, set[str]]:
    """For each family of built-in scenarios, the requirements that it has checks of."""
    modules = (path for path in SCENARIOS.glob("*.py") if not path.name.startswith("_"))
    return {
        path.stem: set(
            re.findall(r'^    @requirement\("([A-Z]+-[0-9]+)"\)', path.read_text(encoding="utf-8"), re.MULTILINE)
        )
        for path in sorted(modules)
    }
