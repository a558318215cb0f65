"""The table of requirements and servers, as the server folders declare it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from tests.real.runs import BROKEN, ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SCENARIOS = ROOT / "scenarios" / "drainproof_scenarios"


def servers() -> list[Path]:
    """Every broken server, by its folder."""
    return sorted(path.parent for path in BROKEN.glob("*/drainproof.toml"))


def declared(server: Path) -> dict[str, Any]:
    """What `expected.toml` of a broken server says."""
    return tomllib.loads((server / "expected.toml").read_text(encoding="utf-8"))


def expected_inconclusive(server: Path) -> set[str]:
    """The requirements that the defect of `server` keeps from being judged in some scenario."""
    return set(declared(server).get("inconclusive", []))


def defect(server: Path) -> str:
    """What is wrong with a broken server: the first line of its module docstring, without the ids."""
    first = (server / "server.py").read_text(encoding="utf-8").partition("\n")[0].strip('"')
    return re.sub(r" \([A-Z0-9, -]+\)\.?$", ".", first)


def expected_failures(server: Path) -> set[str]:
    """The requirements that `server` must fail."""
    return set(declared(server)["fails"])


def in_container(server: Path) -> bool:
    """Whether it is launched in a container by its manifest, and in no other way."""
    manifest = tomllib.loads((server / "drainproof.toml").read_text(encoding="utf-8"))
    return "container" in manifest and "start" not in manifest


CORE = {
    "START": ("start.Test", "drain.Test"),
    "DRAIN": ("start.Test", "drain.Test"),
    "EXIT": ("start.Test", "drain.Test"),
}
"""What every broken server goes through that is launched as a process, by the family of the requirement that it breaks.

What is broken in a container is often the stop itself, and then nothing of it can hold.
"""

SHORT_CORE = ("start.TestStart", "drain.TestStopUnderLoad")
"""The same for all other requirements: a start and a stop, which show that nothing else is broken for good."""


def selected(server: Path) -> list[str]:
    """The scenarios for a broken server, as words for `-k`: the core, and all families that judge what it breaks.

    All scenarios on all servers are hours of work for two cores; DRAINPROOF_WHOLE_MATRIX=1 asks for them.
    """
    broken = expected_failures(server) | expected_inconclusive(server)
    core: set[str] = set()
    for requirement in () if in_container(server) else broken:
        core.update(CORE.get(requirement.partition("-")[0], SHORT_CORE))
    return sorted({*core, *(f"{name}.Test" for name, judged in judged_by_family().items() if judged & broken)})


def judged_by_family() -> dict[str, set[str]]:
    """For each family of built-in scenarios, the requirements that it has checks of."""
    modules = (path for path in SCENARIOS.glob("*.py") if not path.name.startswith("_"))
    return {
        path.stem: set(
            re.findall(r'^    @requirement\("([A-Z]+-[0-9]+)"\)', path.read_text(encoding="utf-8"), re.MULTILINE)
        )
        for path in sorted(modules)
    }
