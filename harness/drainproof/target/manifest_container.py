"""`[container]`: how to run the target in a container."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from drainproof.target import placeholders
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_values import (
    Argument,
    Arguments,
    PortName,
    PortNumber,
    Seconds,
    Truth,
    VariableName,
    Variables,
    WorkerCounts,
)
from drainproof.target.mistakes import Location, wrong

OF_THIS_MACHINE = ("python", "folder")
"""Placeholders that stand for paths of this machine, which nobody finds in a container."""


def _ports(value: dict[str, int]) -> dict[str, int]:
    if "http" not in value:
        raise wrong('expected the numbers inside by name, with "http" among them, such as { http = 8000 }')
    if len(set(value.values())) < len(value):
        raise wrong("two names have the same number; expected a number of its own for each")
    return value


InsidePorts = Annotated[dict[PortName, PortNumber], AfterValidator(_ports)]


class ContainerTable(Section):
    """`[container]`. The validation context `folder` is the manifest's folder."""

    image: Argument | None = None
    build: Argument | None = None
    dockerfile: Argument = "Dockerfile"
    build_args: list[VariableName] = []
    command: Arguments = Field(default=[], description="the command in the container, in place of the image's CMD")
    env: Variables = {}
    ports: InsidePorts = {"http": 8000}
    workers: WorkerCounts | None = None
    deadline: Seconds | None = None
    init: Truth = False
    user: Argument | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> ContainerTable:
        folder: Path = info.context["folder"] if info.context else Path()
        found: Found = []
        if (self.image is None) == (self.build is None):
            text = 'expected one of image (such as "my-server:1.2") and build (a folder with a Dockerfile)'
            found.append(((), text))
        if self.build is not None and not (folder / self.build / self.dockerfile).is_file():
            found.append((("build",), f"there is no {self.dockerfile} in {folder / self.build}"))
        texts: list[tuple[Location, str]] = [*((("command", i), text) for i, text in enumerate(self.command))]
        texts += [(("env", name), text) for name, text in self.env.items()]
        used: set[str] = set()
        for place, text in texts:
            try:
                names = set(placeholders.names(text))
            except placeholders.PlaceholderError:
                continue  # told with the other placeholders, when the ports are known
            used |= names
            strange = [name for name in OF_THIS_MACHINE if name in names]
            found += [
                (place, f"{{{name}}} is a path of this machine; the container has none of it") for name in strange
            ]
        if self.workers is not None and len(self.workers) > 1 and "workers" not in used:
            text = "several counts, but there is no {workers} in container.command or container.env to tell the server"
            found.append((("workers",), text))
        complain(found)
        return self
