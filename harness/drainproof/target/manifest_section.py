"""What every section of a manifest is made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from drainproof.target.mistakes import Location, wrong_at

Found = list[tuple[Location, str]]
"""Mistakes: where, and what was expected."""


def complain(found: Found) -> None:
    """Raises what was found, if anything was."""
    if found:
        raise wrong_at(found)


class Section(BaseModel):
    """A table whose keys are all known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def no_repeats(values: list[str]) -> list[str]:
    """Complains about a value that is there twice."""
    complain([((i,), "named twice") for i, value in enumerate(values) if value in values[:i]])
    return values
