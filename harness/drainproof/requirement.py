"""The catalogue of requirements and its versions, read from `requirements.toml` and `specification.toml` beside it."""

from __future__ import annotations

import functools
import hashlib
import json
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
    inconclusive: str
    """What keeps it from being judged, beyond what does so with every requirement."""

    @property
    def family(self) -> str:
        """The part of the id in front of the number: START, DRAIN, EXIT, EXC, WIN, WORK, CONT, ROLL or CHAOS."""
        return self.id.rpartition("-")[0]


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One version of the specification."""

    version: str
    """Year and month, then a number where a month has a second one: `2026.11`, `2026.11.2`."""
    rules: str
    """The `rules_digest` that it has, or had."""
    changes: str
    """What it changed, in words."""


KEYS = ("title", "level", "rule", "source", "inconclusive")
"""What an entry of the catalogue has, no more and no less."""


@functools.cache
def catalogue() -> Mapping[str, Requirement]:
    """All requirements by id, in the order of the catalogue. Raises HarnessError where the data file is damaged."""
    text = resources.files("drainproof").joinpath("requirements.toml").read_text(encoding="utf-8")
    found = {}
    for key, entry in tomllib.loads(text).items():
        if set(entry) != set(KEYS) or entry["level"] not in ("MUST", "SHOULD"):
            raise HarnessError(f"requirements.toml: {key} needs {', '.join(KEYS)}; level is MUST or SHOULD")
        found[key] = Requirement(
            id=key,
            title=entry["title"],
            level=cast("Level", entry["level"]),
            rule=entry["rule"],
            source=entry["source"],
            inconclusive=entry["inconclusive"],
        )
    return MappingProxyType(found)


def get(requirement_id: str) -> Requirement:
    """The requirement of this id. Raises UserError for an unknown one, with the nearest that there is."""
    try:
        return catalogue()[requirement_id]
    except KeyError:
        suggestion = did_you_mean(requirement_id, catalogue())
        raise UserError(f'there is no requirement "{requirement_id}".{suggestion}') from None


@functools.cache
def history() -> tuple[Revision, ...]:
    """All versions of the specification, newest first. Raises HarnessError where the data file is damaged."""
    text = resources.files("drainproof").joinpath("specification.toml").read_text(encoding="utf-8")
    try:
        return tuple(Revision(**entry) for entry in tomllib.loads(text)["version"])
    except (KeyError, TypeError) as error:
        raise HarnessError(f"specification.toml: each version needs version, rules and changes: {error}") from error


def rules_digest() -> str:
    """SHA-256 of what the catalogue demands: the id, level and rule of each requirement."""
    demands = sorted((each.id, each.level, each.rule) for each in catalogue().values())
    return hashlib.sha256(json.dumps(demands, ensure_ascii=True).encode()).hexdigest()


SPECIFICATION = history()[0].version
"""The version of the requirements: a new one whenever one is added, sharpened or withdrawn, or changes its level.
Results name the version that they were judged by."""
