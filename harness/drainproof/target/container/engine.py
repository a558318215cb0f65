"""The Docker engine: which one it is, whether its processes can be seen from here, and what it says when it fails.

Everything goes through testcontainers and the docker SDK. Both read the environment when they are imported, so what we
need of it is set here first, and nothing else imports them:

* Ryuk, the reaper of testcontainers, is a container whose image many machines do not have; `reaper.py` does its work.
* On a machine that is a container itself, testcontainers would talk to the bridge address, where ports that are
  published on 127.0.0.1 are refused.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from drainproof.errors import HarnessError, Unsupported

HOST = "127.0.0.1"
"""Where ports are published, and nowhere else."""

SETTINGS = {
    "TESTCONTAINERS_RYUK_DISABLED": "true",
    "TESTCONTAINERS_CONNECTION_MODE": "docker_host",
    "TESTCONTAINERS_HOST_OVERRIDE": HOST,
}

PING_TIMEOUT = 10
"""Seconds that an engine may take to say that it is there."""

TIMEOUT = 120
"""Seconds that it may take for anything else; a busy machine needs some for a start."""

HOW_TO_GET_ONE = (
    "Install one (Debian: apt-get install docker.io; else https://docs.docker.com/engine/install/), start it "
    "(systemctl start docker), or name one that runs in DOCKER_HOST"
)


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that answers."""

    client: Any
    """`docker.DockerClient`."""
    quick: Any
    """Another one, which does not wait for long: for a look at whether the engine is there."""
    address: str
    version: str
    cgroups: int
    """1 or 2."""

    def require(self) -> None:
        """Raises HarnessError where it takes no new connection and answers on it, within `PING_TIMEOUT` seconds."""
        self.quick.close()  # the connection that it has from last time
        try:
            self.quick.ping()
        except Exception as error:
            raise HarnessError(
                f"the Docker engine at {self.address} does not answer any more: {reason(error)}"
            ) from error

    def describe(self) -> dict[str, Any]:
        """JSON values for the evidence."""
        return {"address": self.address, "version": self.version, "cgroups": self.cgroups}


def libraries() -> tuple[Any, Any]:
    """The packages `docker` and `testcontainers.core.container`, with the settings that they read at import."""
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    import docker  # noqa: PLC0415 - only a run in containers pays for the import
    from testcontainers.core import container  # noqa: PLC0415 - it reads the settings above

    return docker, container


def address() -> str:
    """Where the SDK looks for the engine."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


@cache
def connect(where: str) -> Engine:
    """The engine at `where` (what `address` gives). Raises Unsupported where none answers."""
    docker, _ = libraries()
    made: list[Any] = []
    try:
        made.append(quick := docker.from_env(timeout=PING_TIMEOUT))
        quick.ping()
        # It is there. What it tells of itself it may have to count first, and on a busy machine that takes its time.
        made.append(client := docker.from_env(timeout=TIMEOUT, version=quick.api.api_version))
        version, info = client.version(), client.info()
    except Exception as error:
        for each in made:
            each.close()
        raise Unsupported(f"no Docker engine answers at {where}: {reason(error)}. {HOW_TO_GET_ONE}") from error
    return Engine(
        client=client,
        quick=quick,
        address=where,
        version=str(version.get("Version", "?")),
        cgroups=2 if str(info.get("CgroupVersion", "1")) == "2" else 1,
    )


@contextlib.contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turns what the SDK raises while it does `what` into an error of ours: an engine that fails is not the target."""
    docker, _ = libraries()
    import requests  # noqa: PLC0415 - comes with the SDK
    import urllib3  # noqa: PLC0415 - likewise

    silence = (
        TimeoutError,
        ConnectionError,
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        requests.exceptions.ChunkedEncodingError,  # it went away in the middle of an answer
        requests.exceptions.InvalidHeader,
        urllib3.exceptions.HTTPError,
        docker.errors.StreamParseError,
    )
    try:
        yield
    except silence as error:
        raise HarnessError(
            f"the Docker engine at {address()} stopped answering while drainproof {what}: {reason(error)}"
        ) from error
    except docker.errors.DockerException as error:
        raise HarnessError(f"the Docker engine failed while drainproof {what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """The innermost reason of an error: the SDK and urllib3 wrap one into the other."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode("utf-8", "replace")
    if explanation:
        return str(explanation).strip()
    seen: list[BaseException] = []
    here: BaseException | None = error
    while here is not None and not any(here is each for each in seen):
        seen.append(here)
        wrapped = [*here.args, getattr(here, "reason", None), here.__cause__]
        here = next((each for each in wrapped if isinstance(each, BaseException)), None)
    last = seen[-1]
    text = (last.strerror or str(last)) if isinstance(last, OSError) else str(last)
    return text.strip() or type(last).__name__
