"""A container of testcontainers that is attached to before it starts.

What a server prints first is what tells why it did not start. Attached afterwards, one asks the engine for its log as
well, and gets lines twice or not at all: those that were printed between the reading of the log and the attaching, and
those that came right behind the head of the answer, which the SDK leaves in a buffer. Attached before, as `docker run`
does it, there is nothing to ask for, with any log driver.

All containers share the engine's client: one that is made for each asks for the engine's version each time.
"""

from __future__ import annotations

import contextlib
from functools import cache
from typing import Any

from drainproof.target.container.engine import Engine, libraries


@cache
def container_class() -> Any:
    """The class; it is made when the first container is, since testcontainers takes its time to be imported."""
    _, testcontainers = libraries()
    from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415 - as above

    class Client(DockerClient):
        """What testcontainers talks through."""

        def __init__(self, engine: Engine) -> None:
            self.client = engine.client
            self.connection: Any = None

        def start(self, container: Any) -> None:
            """Attaches, and starts."""
            wanted = {"stdout": 1, "stderr": 1, "stream": 1}
            self.connection = self.client.api.attach_socket(container.id, params=wanted)
            super().start(container)

    class AttachedContainer(testcontainers.DockerContainer):  # type: ignore[misc, name-defined]
        """`connection` is the attached stream, once it was started."""

        def __init__(self, image: str, *, engine: Engine, **more: Any) -> None:
            # With the version given, the client that it makes here asks for nothing; ours takes its place.
            super().__init__(image, docker_client_kw={"version": engine.client.api.api_version}, **more)
            self.get_docker_client().client.close()
            self._docker: Any = Client(engine)

        @property
        def connection(self) -> Any:
            return self._docker.connection

        def discard(self) -> None:
            """Removes what was made of it, as far as the engine lets us: the reaper removes the rest."""
            with contextlib.suppress(Exception):
                self.connection.close()
            with contextlib.suppress(Exception):
                self.get_wrapped_container().remove(force=True, v=True)

    return AttachedContainer
