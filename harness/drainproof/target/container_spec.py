"""How a target is run in a container: what its manifest says, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """`[container]` of a manifest. Exactly one of `image` and `build` is set."""

    image: str | None = None
    """The name of an image that the engine has, or can pull."""
    build: Path | None = None
    """The folder to build the image from."""
    dockerfile: str = "Dockerfile"
    """The Dockerfile in that folder."""
    build_args: tuple[str, ...] = ()
    """Environment variables that are passed on to the build, where they are set."""
    ports: Mapping[str, int] = field(default_factory=lambda: {"http": 8000})
    """The numbers that it listens on inside, by name."""
    init: bool = False
    """Whether the engine puts its own init (tini) in front, as `docker run --init` does."""
    user: str | None = None
    """Whom it runs as: a name or number, with `:group` if wanted. None: the image's user."""

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {
            **asdict(self),
            "build": None if self.build is None else str(self.build),
            "build_args": list(self.build_args),
            "ports": dict(self.ports),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ContainerSpec:
        """Reads what `to_json` wrote."""
        build = None if value["build"] is None else Path(value["build"])
        return cls(**{**value, "build": build, "build_args": tuple(value["build_args"])})
