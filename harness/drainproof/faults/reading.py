"""What every fault that divides the requests reads right before it: which of them the server had accepted."""

from __future__ import annotations

from typing import Any

from drainproof.faults.bench import Bench
from drainproof.probes import sockets


def read_sockets(bench: Bench) -> dict[str, Any] | None:
    """The server's ends of the connections right before the fault: which were accepted, which of these read empty.

    The HTTP port's; with `grpc`, the same for the port of gRPC where the load goes there, too.

    Lost: to read again where a busy machine made a reading long. What was in flight at the first one had been answered
    by then, so that fewer requests were accepted before the fault, not more.
    """
    if bench.load is None:
        return None
    table = _read(bench, bench.port)
    others = {bench.ports[request.port] for request in bench.requests_in_load() if request.protocol == "grpc"}
    assert len(others) <= 1, "a manifest with two gRPC ports is refused"
    for port in others:
        table["grpc"] = _read(bench, port)
    return table


def _read(bench: Bench, port: int) -> dict[str, Any]:
    table = bench.running.sockets.snapshot(port=port)
    read = [s.client_port for s in table.sockets.values() if s.accepted and s.unread == 0]
    return {
        "t0": table.t0,
        "t": table.t,
        "backlog": table.backlog,
        "connections": len(table.sockets),
        "accepted": sorted(s.client_port for s in table.sockets.values() if s.accepted),
        "read": sorted(read),
    }


def held_by(bench: Bench, pids: tuple[int, ...]) -> dict[int, list[int]]:
    """The client ports of the connections whose server's end each of these processes owns, alone or with others."""
    found: dict[int, list[int]] = {pid: [] for pid in pids}
    for port in {bench.ports[request.port] for request in bench.requests_in_load()} | {bench.port}:
        table = bench.running.sockets.snapshot(port=port).sockets.values()
        ends = {end.inode: end.client_port for end in table if end.accepted and end.inode}
        for inode, owners in sockets.owners(inodes=ends, pids=pids).items():
            for pid in owners:
                found[pid].append(ends[inode])
    return found
