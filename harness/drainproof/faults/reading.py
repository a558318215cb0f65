"""What every fault that divides the requests reads right before it: which of them the server had accepted."""

from __future__ import annotations

import time
from typing import Any

from drainproof.faults.bench import Bench
from drainproof.probes import sockets

STALE = 0.15
"""Seconds from the beginning of a reading to the fault beyond which it is made again."""

READINGS = 4
"""So often at most: the last one is used however old it is, because what it shows is true all the same."""


def read_sockets(bench: Bench) -> dict[str, Any] | None:
    """The server's ends of the connections right before the fault: which were accepted, which of these read empty.

    The HTTP port's; with `grpc`, the same for the port of gRPC where the load goes there, too. On a busy machine a
    reading may take so long that most of what it shows is over: it is then made again.
    """
    if bench.load is None:
        return None
    for _ in range(READINGS):
        table = _read_all(bench)
        if time.monotonic() - table["t0"] <= STALE:
            break
    return table


def _read_all(bench: Bench) -> dict[str, Any]:
    table = _read(bench.port)
    others = {bench.ports[request.port] for request in bench.requests_in_load() if request.protocol == "grpc"}
    if others:
        table["grpc"] = _read(others.pop())
    return table


def _read(port: int) -> dict[str, Any]:
    table = sockets.snapshot(port=port)
    read = [s.client_port for s in table.sockets.values() if s.accepted and s.unread == 0]
    return {
        "t0": table.t0,
        "t": table.t,
        "backlog": table.backlog,
        "connections": len(table.sockets),
        "accepted": sorted(s.client_port for s in table.sockets.values() if s.accepted),
        "read": sorted(read),
    }
