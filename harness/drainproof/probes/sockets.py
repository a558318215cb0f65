"""What the kernel says about a server's TCP sockets: listeners, accept queues, and the server's ends of connections.

A snapshot is the proof that a request had been taken by the server at the moment of a fault. What the client knows
(connected, sent) proves nothing of the kind: the kernel completes handshakes and acknowledges data for a server that is
not looking. The server's end tells the cases apart:

* no end at all: the connection is gone;
* an end that was not accepted: in the accept queue, and lost without a word if the listener closes now;
* accepted, with unread bytes: the server has the connection, but has not read (all of) the request;
* accepted, nothing unread: everything that the client's kernel delivered has been read by the server.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from drainproof.probes import socket_tables

_CLOSED_BY_SERVER = frozenset({"FIN_WAIT1", "FIN_WAIT2", "CLOSING", "LAST_ACK"})
"""The server has sent its FIN, so it had accepted the connection, even where no process owns the socket any more."""

_FIN_RECEIVED = frozenset({"CLOSE_WAIT", "LAST_ACK", "CLOSING"})


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A listening TCP socket. Several processes may share one; with SO_REUSEPORT a port has several."""

    port: int
    address: str
    inode: int
    backlog: int
    """Connections that wait in its accept queue."""


@dataclass(frozen=True, kw_only=True)
class ServerSocket:
    """The server's end of one connection."""

    client_port: int
    state: str
    """`ESTABLISHED`, `CLOSE_WAIT`, … ; `SYN_RECV`: the client may believe it is connected, the server does not yet
    (the accept queue is full)."""
    accepted: bool
    """The application has accept()ed it."""
    unread: int
    """Bytes that have arrived and that the application has not read."""
    inode: int
    """0 until it is accepted: with it `owners` finds the process."""

    @property
    def taken(self) -> bool:
        """The application has the connection and has read all that arrived on it."""
        return self.accepted and self.unread == 0


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The server's ends of all connections to one port, seen between the moments `t0` and `t` (monotonic seconds)."""

    t0: float
    t: float
    backlog: int
    """Connections in the accept queues of the port's listeners."""
    sockets: Mapping[int, ServerSocket]
    """By client port."""

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        ends = [[s.client_port, s.state, s.accepted, s.unread, s.inode] for s in self.sockets.values()]
        return {"t0": self.t0, "t": self.t, "backlog": self.backlog, "sockets": ends}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Snapshot:
        """Reads what `to_json` wrote."""
        ends = {
            port: ServerSocket(client_port=port, state=state, accepted=accepted, unread=unread, inode=inode)
            for port, state, accepted, unread, inode in value["sockets"]
        }
        return cls(t0=value["t0"], t=value["t"], backlog=value["backlog"], sockets=ends)


class Rows(Protocol):
    """A source of rows, such as `socket_tables.rows`."""

    def __call__(self, *, states: Collection[str], port: int | None = None) -> list[socket_tables.Row]:
        """The rows in one of `states` with this local port (`None`: any)."""
        ...


class Namespace:
    """The TCP sockets of one network namespace, by the port numbers that clients use.

    A container has a namespace of its own, and a port in it that clients reach under another number: `inside` gives,
    for each number outside, the one inside. Everything here speaks of the numbers outside.
    """

    def __init__(
        self, *, rows: Rows = socket_tables.rows, inside: Mapping[int, int] | None = None, own: bool = False
    ) -> None:
        self.own = own
        """Whether the target has it for itself: then whoever listens in it is the target."""
        self._rows = rows
        self._inside = dict(inside or {})
        self._outside = {number: outside for outside, number in self._inside.items()}

    def listeners(self, *, ports: Collection[int] | None) -> list[Listener]:
        """The listeners on these ports (`None`: on all), IPv4 and IPv6. Raises OSError if the kernel does not tell."""
        wanted = None if ports is None else {self._inside.get(port, port) for port in ports}
        only = next(iter(wanted)) if wanted is not None and len(wanted) == 1 else None
        return [
            Listener(
                port=self._outside.get(row.local_port, row.local_port),
                address=row.local_address,
                inode=row.inode,
                backlog=row.receive_queue,
            )
            for row in self._rows(states={"LISTEN"}, port=only)
            if wanted is None or row.local_port in wanted
        ]

    def snapshot(self, *, port: int, host: str = "127.0.0.1") -> Snapshot:
        """The server's ends of the connections to `host`:`port`. Ends in TIME_WAIT are over and left out.

        A dual-stack IPv6 listener's connections from IPv4 clients are included. Where `port` has another number inside,
        `host` has another address there too, so all connections to the port count. Raises OSError if the kernel does
        not tell.
        """
        t0 = time.monotonic()
        ends = {
            row.remote_port: ServerSocket(
                client_port=row.remote_port,
                state=row.state,
                accepted=_accepted(row),
                unread=_unread(row),
                inode=row.inode,
            )
            for row in self._rows(states=socket_tables.LIVE, port=self._inside.get(port, port))
            if row.local_address == host or port in self._inside
        }
        backlog = sum(listener.backlog for listener in self.listeners(ports={port}))
        return Snapshot(t0=t0, t=time.monotonic(), backlog=backlog, sockets=ends)


HERE = Namespace()
"""The namespace that drainproof itself is in."""


def _accepted(row: socket_tables.Row) -> bool:
    return row.inode != 0 or row.state in _CLOSED_BY_SERVER


def _unread(row: socket_tables.Row) -> int:
    """The kernel counts a FIN that the application has not read (as end of file) as one more byte."""
    return max(0, row.receive_queue - 1) if row.state in _FIN_RECEIVED else row.receive_queue


def owners(*, inodes: Collection[int], pids: Iterable[int]) -> dict[int, set[int]]:
    """Which of `pids` hold which of these sockets: inode → pids, for every inode asked for.

    A process that is gone, or that we may not look into, holds nothing.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, set[int]] = {inode: set() for inode in inodes}
    for pid in pids:
        for link in open_files(pid=pid):
            if link in wanted:
                found[wanted[link]].add(pid)
    return found


def may_look_into(*, pid: int) -> bool:
    """Whether we may see which sockets a process holds. Where it runs as another user, only root may."""
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - as below
            os.readlink(f"{folder}/{name}")  # noqa: PTH115
            return True
    except PermissionError:
        return False
    except OSError:  # it is gone, which is another matter
        return True
    return True


def open_files(*, pid: int) -> set[str]:
    """What the file descriptors of a process point to (`/a/path`, `socket:[123]`, …); empty if it cannot be known."""
    folder = f"/proc/{pid}/fd"
    links = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - a Path for each descriptor costs more than the look itself
            with contextlib.suppress(OSError):
                links.add(os.readlink(f"{folder}/{name}"))  # noqa: PTH115
    return links
