"""What every fault that divides the requests reads right before it: which of them the server had accepted."""

from __future__ import annotations

from typing import Any

from drainproof.faults.bench import Bench
from drainproof.probes import sockets


def read_sockets(bench: Bench) -> dict[str, Any] | None:
    """The server's ends of the connections right before the fault: which were accepted, which of these read empty."""
    if bench.load is None:
        return None
    table = sockets.snapshot(port=bench.port)
    read = [s.client_port for s in table.sockets.values() if s.accepted and s.unread == 0]
    return {
        "t0": table.t0,
        "t": table.t,
        "backlog": table.backlog,
        "connections": len(table.sockets),
        "accepted": sorted(s.client_port for s in table.sockets.values() if s.accepted),
        "read": sorted(read),
    }
