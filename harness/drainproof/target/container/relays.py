"""Whether something stands between the clients and a published port of a container.

A relay accepts connections for a server that does not, and turns resets into orderly ends, so what clients see behind
one says nothing about the server. Docker's own, docker-proxy, is known by its command line. Any other (of a rootless
engine, a virtual machine, a VPN) is known by what every relay does: it makes a connection of its own, so the client's
port is not found at the server's end. Where the kernel translates addresses, it leaves that port as it is, unless
another connection has it, which is why several are tried.

Lost: a list of names (there is a new one every year), and to find the owner of the published port (the kernel's own
translation has none, nor has a relay on another machine).
"""

from __future__ import annotations

import contextlib
import socket
import time
from itertools import pairwise
from pathlib import Path

from drainproof.probes.sockets import Namespace

PROXIES = ("docker-proxy", "rootlesskit-docker-proxy")
"""Docker's own."""

TRIES = 3
"""Connections that are looked for."""

ARRIVES_WITHIN = 2.0
"""Seconds that they have to be seen at the server's end: one look, where nobody else wants the machine."""

LOOK_EVERY = 0.02


def docker_proxy(*, port: int, processes: Path = Path("/proc")) -> bool:
    """Whether docker-proxy stands in front of a published port of this machine."""
    for process in processes.iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                # -container-port is another number, which may by chance be the same as a port of ours
                if Path(words[0]).name in PROXIES and ("-host-port", str(port)) in pairwise(words):
                    return True
    return False


def is_relayed(*, host: str, port: int, sockets: Namespace) -> bool:
    """Whether connections to a port that listens are found nowhere at the server's end.

    False where none can be made, or nobody tells of the server's sockets: then there is nothing to be said.
    """
    with contextlib.ExitStack() as stack:
        try:
            ours = {
                stack.enter_context(socket.create_connection((host, port), timeout=ARRIVES_WITHIN)).getsockname()[1]
                for _ in range(TRIES)
            }
            until = time.monotonic() + ARRIVES_WITHIN
            while ours.isdisjoint(sockets.snapshot(port=port, host=host).sockets):
                if not sockets.listeners(ports={port}):
                    return False  # the server is gone meanwhile, and its connections with it
                if time.monotonic() > until:
                    return True
                time.sleep(LOOK_EVERY)
        except OSError:
            return False
    return False
