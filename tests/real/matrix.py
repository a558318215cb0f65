"""The table of requirements and servers, as the server folders declare it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from tests.real.runs import BROKEN, SERVERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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
