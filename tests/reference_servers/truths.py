"""Reads the `truths.toml` of a real server: which verdicts agree with what was measured on its releases by hand."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SERVERS = Path(__file__).resolve().parents[2] / "reference_servers"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """One entry of the file."""

    releases: tuple[str, ...]
    requirement: str
    scenarios: tuple[str, ...]
    verdicts: tuple[str, ...]
    why: str

    def covers(self, *, release: str, requirement: str, scenario: str) -> bool:
        """Whether this entry says something about that verdict."""
        if release not in self.releases or requirement != self.requirement:
            return False
        return any(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), scenario) for pattern in self.scenarios)


@cache
def truths(server: str) -> tuple[Truth, ...]:
    """All entries of `reference_servers/SERVER/truths.toml`."""
    entries = tomllib.loads((SERVERS / server / "truths.toml").read_text(encoding="utf-8"))["truth"]
    return tuple(Truth(**{key: tuple(v) if isinstance(v, list) else v for key, v in e.items()}) for e in entries)


def expected(server: str, *, release: str, requirement: str, scenario: str) -> Truth | None:
    """What was measured of that verdict (None: nothing). Raises ValueError where two entries speak of it."""
    found = [t for t in truths(server) if t.covers(release=release, requirement=requirement, scenario=scenario)]
    if len(found) > 1:
        raise ValueError(f"two truths about {requirement} of {scenario} on {server} {release}: {found}")
    return found[0] if found else None
