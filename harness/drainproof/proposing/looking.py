"""Puts together what the detectives see in one folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drainproof.errors import UserError
from drainproof.proposing import asgi, dockerfile, kserve, torchserve
from drainproof.proposing.proposal import Container, Proposal
from drainproof.proposing.source import modules
from drainproof.target.manifest import SMALLEST

KSERVE_PORTS = {"http": 8080, "grpc": 8081}


def look(folder: Path) -> Proposal:
    """What is in `folder`. Raises UserError where nobody sees a server in it."""
    sources = modules(folder)
    server = kserve.propose(folder, sources) or torchserve.propose(folder, sources) or asgi.propose(folder, sources)
    image = dockerfile.propose(folder)
    if server is None and image is None:
        raise UserError(
            f"{folder}: found no server: no FastAPI or other ASGI application, no kserve.ModelServer, no model archive "
            f"(.mar) and no Dockerfile. Write a drainproof.toml; the smallest one is:\n\n{SMALLEST}"
        )
    if server is None:
        assert image is not None, "one of the two is there"
        return image
    return server if image is None else _both(server, image)


def _both(server: Proposal, image: Proposal) -> Proposal:
    """A server that can be started as a process and in a container."""
    assert image.container is not None, "it comes from a Dockerfile"
    assert server.start is not None, "it comes from a program"
    todo = {**server.todo, **image.todo}
    if set(server.start.ports) == {"http"}:
        ports = image.container.ports
    elif set(server.start.ports) == set(KSERVE_PORTS):
        ports = KSERVE_PORTS
    else:  # as TorchServe's: what it listens on inside is in its own configuration
        return replace(server, found=(*server.found, f"{image.found[0]}: not taken, since its ports are not known"))
    return replace(
        server,
        found=(*server.found, *image.found),
        container=Container(dockerfile=image.container.dockerfile, ports=ports),
        readiness=server.readiness or image.readiness,
        todo=todo,
    )
