"""A real load balancer in front of several instances: HAProxy, started and ended through a keeper as a target is.

What it does with a request, and why:
    It asks each server's readiness path every `CHECK_EVERY` seconds and believes one answer: a server that says that it
    is not ready gets no further request, and what it has in hand it may finish. That is faster than anybody's balancer
    in production, so a loss behind this one is a loss behind those as well.
    Where a *connection* fails, the request goes to another server (`option redispatch`, `retry-on conn-failure`): it
    has never left, so that is safe for every request, and it is what balancers do by default.
    Where a connection is lost after the request has left, it is lost. `retry-on empty-response` (or a status) would
    send it again: it hides exactly the losses that are looked for, and is dangerous for requests that must not be done
    twice. `on-marked-down shutdown-sessions` would cut what a draining server still answers: then we had lost it, not
    the server. `observe layer4` would mark servers down by failed connections: then "down" did not mean any more that
    the server has said so.
docs/explanation/rolling-restarts.md has the whole story.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drainproof.errors import HarnessError, Unsupported
from drainproof.load.plan import ANSWERED_BY
from drainproof.target import process

NAME = "haproxy"

ALSO_IN = ("/usr/sbin", "/usr/local/sbin", "/sbin")
"""Where Debian installs it, and where an ordinary user's PATH does not look."""

SERVICE = "service"
"""The name of the proxy in its configuration."""

NO_SERVER = "<NOSRV>"
"""What it says where it had no server for a request."""

COOKIE = "drainproof-server"
"""The session cookie that the balancer inserts where sessions are to be kept."""

CHECK_EVERY = 0.1
"""Seconds between two health checks of a server, in whatever state it is."""

CHECK_TIMEOUT = 2.0
"""Seconds for an answer to a health check: on a busy machine a healthy server must not be taken for a dead one."""

CONFIGURATION, OUTPUT = "balancer.cfg", "balancer-output.jsonl"
"""In the evidence folder: what it was told, and what it said (its log: state changes, and requests that went wrong)."""

STARTS_WITHIN = 20.0
"""Seconds until it must answer on its admin socket."""

ANSWERS_WITHIN = 5.0
"""Seconds for one answer on the admin socket."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """One instance as the balancer knows it."""

    name: str
    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """What the balancer thinks of a server."""

    status: str
    """`UP`, `DOWN`, …"""
    check: str
    """How the last health check ended: `L7OK`, `L7STS` (a wrong status), `L4CON` (refused), `L7TOUT`, …"""
    code: int | None
    """The status that it was answered with."""
    current: int
    """Requests that it has in hand there."""
    total: int
    """Requests that it has sent there so far."""

    @property
    def up(self) -> bool:
        """Whether it sends requests there."""
        return self.status.startswith("UP")

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def find() -> str:
    """The path of HAProxy. Raises Unsupported, with what to do, where it is not installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ALSO_IN])
    found = shutil.which(NAME, path=path)
    if found is None:
        raise Unsupported(
            f"this needs a real load balancer, and {NAME} was found neither in PATH nor in {', '.join(ALSO_IN)}: "
            f"install it (Debian, Ubuntu: apt-get install {NAME})"
        )
    return found


def configuration(
    *, host: str, port: int, admin: Path, servers: Iterable[Server], readiness: str, sticky: bool, patience: float
) -> str:
    """HAProxy's configuration. `patience`: seconds that a request may take; `sticky`: with a session cookie."""
    bound = f"{round(patience * 1000)}ms"
    every = f"{round(CHECK_EVERY * 1000)}ms"
    lines = [
        "global",
        "    nbthread 1",
        "    maxconn 400",  # no more than an ordinary limit on descriptors allows
        "    log stdout format raw local0 info",
        f"    stats socket {admin} mode 600 level admin",
        "",
        "defaults",
        "    mode http",
        "    log global",
        "    option httplog",
        "    option dontlog-normal",
        "    timeout connect 5s",
        f"    timeout client {bound}",
        f"    timeout server {bound}",
        f"    timeout queue {bound}",
        f"    timeout http-keep-alive {bound}",
        f"    timeout check {round(CHECK_TIMEOUT * 1000)}ms",
        "",
        f"listen {SERVICE}",
        f"    bind {host}:{port}",
        "    balance roundrobin",
        f"    option httpchk GET {_word(readiness)}",
        "    http-check expect status 200-399",
        "    option redispatch 1",
        "    retries 3",
        "    retry-on conn-failure",
        # Also on the answers that it gives itself: they name the server that it could not get one from.
        f"    http-after-response set-header {ANSWERED_BY} %s",
        *([f"    cookie {COOKIE} insert indirect nocache"] if sticky else []),
        f"    default-server check inter {every} fastinter {every} downinter {every} fall 1 rise 1",
        *(
            f"    server {server.name} {server.host}:{server.port}" + (f" cookie {server.name}" if sticky else "")
            for server in servers
        ),
    ]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """A word of HAProxy's configuration, with what means something to its parser escaped."""
    return "".join(f"\\{c}" if c in " \\#\"'$" else c for c in text)


class Balancer:
    """A running HAProxy. As a context manager it ends itself."""

    def __init__(
        self,
        *,
        port: int,
        servers: Iterable[Server],
        readiness: str,
        sticky: bool,
        patience: float,
        folder: Path,
        host: str = "127.0.0.1",
    ) -> None:
        """Starts it and returns when it answers. `folder`: the evidence folder, for its configuration and its log.

        Raises Unsupported where it is not installed, HarnessError where it does not come up.
        """
        self.host = host
        self.port = port
        self.servers = tuple(servers)
        program = find()
        tmp = process.fresh_tmp()
        self._admin = tmp / "admin.sock"
        (folder / CONFIGURATION).write_text(
            configuration(
                host=host,
                port=port,
                admin=self._admin,
                servers=self.servers,
                readiness=readiness,
                sticky=sticky,
                patience=patience,
            ),
            encoding="utf-8",
        )
        self._process = process.launch_command(
            name=NAME,
            command=[program, "-db", "-f", str(folder / CONFIGURATION)],
            environment={},
            working_directory=Path("/"),
            ports={"http": port},
            output=folder / OUTPUT,
            tmp=tmp,
        )
        try:
            self._await_start()
        except BaseException:
            self._process.end()
            raise

    def states(self) -> dict[str, ServerState]:
        """What it thinks of each server now, by name. Raises HarnessError where it does not answer."""
        rows = csv.DictReader(io.StringIO(self._ask(f"show stat {SERVICE} 4 -1").lstrip("# ")))
        return {row["svname"]: _state(row) for row in rows if row.get("svname")}

    def wait_up(self, names: Iterable[str], *, until: float) -> bool:
        """Waits until it sends requests to all of these servers; False if it does not by that moment."""
        wanted = tuple(names)
        while True:
            states = self.states()
            if all(states[name].up for name in wanted):
                return True
            if time.monotonic() >= until:
                return False
            self._process.wait_exit(until=time.monotonic() + 0.01)

    def end(self) -> None:
        """Ends it. Idempotent."""
        self._process.end()

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _await_start(self) -> None:
        until = time.monotonic() + STARTS_WITHIN
        while True:
            if self._process.wait_exit(until=time.monotonic() + 0.01) is not None:
                raise HarnessError(f"{NAME} ended at its start. It said:\n{self._process.tail()}")
            try:
                self.states()
            except HarnessError:
                if time.monotonic() >= until:
                    raise
            else:
                return

    def _ask(self, command: str) -> str:
        status = self._process.exit_status()
        if status is not None:
            raise HarnessError(f"{NAME} ended in the middle of the experiment. It said:\n{self._process.tail()}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(ANSWERS_WITHIN)
                line.connect(str(self._admin))
                line.sendall(command.encode() + b"\n")
                answer = b""
                while piece := line.recv(65536):
                    answer += piece
        except OSError as error:
            raise HarnessError(f"{NAME} does not answer on its admin socket: {error}") from error
        return answer.decode("utf-8", "replace")


def _state(row: Mapping[str, str]) -> ServerState:
    return ServerState(
        status=row["status"],
        check=row["check_status"].lstrip("* "),
        code=int(row["check_code"]) if row["check_code"] else None,
        current=int(row["scur"]),
        total=int(row["stot"]),
    )
