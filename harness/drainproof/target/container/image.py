"""The image of a target: found, pulled or built, and what it says about how its main process is started."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drainproof.errors import CommandNotStarted
from drainproof.target.container.engine import Engine, libraries, reason, speaking
from drainproof.target.container_spec import ContainerSpec

LOG_TAIL = 8
"""Lines of a build's log that an error shows."""

BUILDS = 5
"""So often a build is tried whose layers somebody else removes meanwhile: whoever has built the same, and is done."""

_REMOVED = ("failed to get digest", "failed to get layer", "layer does not exist", "unknown parent image", "/imagedb/")
"""How an engine says that a layer is gone which it had found in its cache; nothing in a Dockerfile makes it say so."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image that the engine has."""

    id: str
    name: str
    """As the user knows it."""
    digest: str | None
    """The name with the digest of its registry; None for one that was never pushed or pulled."""
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_signal: str | None
    user: str
    working_directory: str

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {
            "image": self.name,
            "image_id": self.id,
            "digest": self.digest,
            "entrypoint": list(self.entrypoint),
            "command": list(self.command),
            "stop_signal": self.stop_signal,
            "user": self.user,
        }

    def main_command(self, command: Sequence[str]) -> list[str]:
        """What PID 1 is started with where `command` takes the place of the image's (empty: it does not)."""
        return [*self.entrypoint, *(command or self.command)]


def obtain(
    spec: ContainerSpec, *, engine: Engine, name: str, tags: Mapping[str, str], progress: Callable[[str], None]
) -> Image:
    """The image of `spec`; `tags` are the labels of what is built. Raises CommandNotStarted where there is none."""
    if spec.build is not None:
        return _inspect(engine, _build(spec, engine=engine, name=name, tags=tags, progress=progress), name=name)
    assert spec.image is not None
    docker, _ = libraries()
    try:
        with speaking(f"looked for the image {spec.image}"):
            try:
                engine.client.images.get(spec.image)
            except docker.errors.ImageNotFound:
                progress(f"pulling {spec.image}")
                engine.client.images.pull(spec.image, **({} if _has_tag(spec.image) else {"tag": "latest"}))
    except Exception as error:
        if isinstance(error.__cause__, docker.errors.APIError):
            raise CommandNotStarted(
                f"{name}: the engine has no image {spec.image!r} and cannot pull it: {reason(error.__cause__)}"
            ) from error
        raise
    return _inspect(engine, spec.image, name=spec.image)


def _has_tag(image: str) -> bool:
    return ":" in image.rpartition("/")[2] or "@" in image


def _build(
    spec: ContainerSpec, *, engine: Engine, name: str, tags: Mapping[str, str], progress: Callable[[str], None]
) -> str:
    """Builds the image; its id."""
    docker, _ = libraries()
    progress(f"building the image from {spec.dockerfile}")
    layers: list[str] = []
    with speaking("built the image"):
        for again in reversed(range(BUILDS)):
            try:
                image, _log = engine.client.images.build(
                    path=str(spec.build),
                    dockerfile=spec.dockerfile,
                    buildargs={name: os.environ[name] for name in spec.build_args if name in os.environ},
                    labels=dict(tags),
                    rm=True,
                    forcerm=True,
                )
            except (docker.errors.BuildError, docker.errors.APIError) as error:
                log = list(getattr(error, "build_log", ()))
                layers += made_layers(log)
                if again and any(words in reason(error) for words in _REMOVED):
                    continue
                _remove_layers(engine, layers)
                raise CommandNotStarted(
                    f"{name}: the image cannot be built from {spec.build}: {reason(error)}{_tail(log)}"
                ) from error
            return str(image.id)
    raise AssertionError("the last build returns or raises")


def made_layers(log: Sequence[Mapping[str, Any]]) -> list[str]:
    """The images of the steps that a build made itself, oldest first: neither what it is FROM, nor what it found."""
    made: list[str] = []
    own = False
    for each in log:
        text = str(each.get("stream") or "")
        if step := re.match(r"Step \d+/\d+ : (\w+)", text):
            own = step[1].upper() != "FROM"
        elif text.strip() == "---> Using cache":
            own = False
        elif own and (layer := re.fullmatch(r" ---> ([0-9a-f]{12,64})\n?", text)):
            made.append(layer[1])
    return made


def _remove_layers(engine: Engine, layers: Sequence[str]) -> None:
    """Removes what a failed build made, as far as nobody uses it.

    The engine sets the labels by which the reaper finds things in the last steps of a build, which this one never came
    to. `noprune`: the layers below, which the build found, are somebody else's.
    """
    for layer in reversed(layers):
        with contextlib.suppress(Exception):  # another build stands on it, or has removed it
            if not engine.client.api.inspect_image(layer)["RepoTags"]:
                engine.client.api.remove_image(layer, noprune=True)


def _tail(log: Sequence[Mapping[str, Any]]) -> str:
    """The end of the log of a build that failed."""
    said = [str(each.get("stream") or each.get("error") or "").rstrip() for each in log]
    tail = "\n".join([line for line in said if line][-LOG_TAIL:])
    return f"\n{tail}" if tail else ""


def _inspect(engine: Engine, reference: str, *, name: str) -> Image:
    with speaking(f"inspected the image {name}"):
        attributes = engine.client.images.get(reference).attrs
    config = attributes.get("Config") or {}
    return Image(
        id=attributes["Id"],
        name=name,
        digest=next(iter(attributes.get("RepoDigests") or ()), None),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        environment=dict(each.split("=", 1) for each in config.get("Env") or () if "=" in each),
        stop_signal=config.get("StopSignal") or None,
        user=config.get("User") or "",
        working_directory=config.get("WorkingDir") or "/",
    )
