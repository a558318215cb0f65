"""The catalogue of requirements, read from `requirements.toml` beside this module."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Literal, cast

from drainproof.errors import HarnessError, UserError
from drainproof.nearest import did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SPECIFICATION = "2026.11"
"""The version of the requirements (year and month, then a number where there is a second one): changes whenever one is
added, sharpened or withdrawn. Results name the version that they were judged by."""

Level = Literal["MUST", "SHOULD"]
"""MUST decides the certificate; SHOULD becomes a note on it."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One rule that a server is held to."""

    id: str
    """Stable, such as `DRAIN-1`."""
    title: str
    """Three to seven words."""
    level: Level
    rule: str
    """The whole rule; Markdown code marks in it."""
    source: str
    """Why the rule is there: where it was broken, or what it protects."""

    @property
    def family(self) -> str:
        """The part of the id in front of the number: START, DRAIN, EXIT, EXC, WIN, WORK, CONT, ROLL or CHAOS."""
        return self.id.rpartition("-")[0]


@functools.cache
def catalogue() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the catalogue. Raises HarnessError where the data file is damaged."""
    text = resources.files("drainproof").joinpath("requirements.toml").read_text(encoding="utf-8")
    found = {}
    for key, entry in tomllib.loads(text).items():
        if set(entry) != {"title", "level", "rule", "source"} or entry["level"] not in ("MUST", "SHOULD"):
            raise HarnessError(f"requirements.toml: {key} needs title, level (MUST or SHOULD), rule and source")
        found[key] = Requirement(
            id=key,
            title=entry["title"],
            level=cast("Level", entry["level"]),
            rule=entry["rule"],
            source=entry["source"],
        )
    return MappingProxyType(found)


def get(requirement_id: str) -> Requirement:
    """The requirement of this id. Raises UserError for an unknown one, with the nearest that there is."""
    try:
        return catalogue()[requirement_id]
    except KeyError:
        suggestion = did_you_mean(requirement_id, catalogue())
        raise UserError(f'there is no requirement "{requirement_id}".{suggestion}') from None
