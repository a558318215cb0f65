"""The sockets in the network namespace of a container, looked at from outside.

A netlink socket stays in the namespace that it was made in, whoever uses it. So a thread that is there for nothing else
enters the namespace, makes one, and ends; a thread's namespace is its own, and ours is left as it is. That takes root;
without it, the tables in /proc/PID/net say the same, some milliseconds slower (see `probes.socket_tables`).

The socket keeps the namespace alive when its last process has ended. What is read then is still the truth: that nothing
listens, and which connections the kernel is still closing.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection
from pathlib import Path

from drainproof.probes import processes, socket_tables
from drainproof.target import kernel


class ContainerSockets:
    """The rows of a container's socket table; thread-safe."""

    def __init__(self, *, pid: int) -> None:
        """`pid`: a process in it, 0 where there is none any more."""
        self._pid = pid
        self._lock = threading.Lock()
        self._netlink = _netlink(pid) if pid else None

    def rows(self, *, states: Collection[str], port: int | None = None) -> list[socket_tables.Row]:
        """The rows in one of `states` with this local port (`None`: any). Raises OSError where nobody tells."""
        with self._lock:
            if self._netlink is not None:
                return socket_tables.sock_diag(states=states, port=port, netlink=self._netlink)
        return self._from_proc(states, port)

    def _from_proc(self, states: Collection[str], port: int | None) -> list[socket_tables.Row]:
        if not self._pid:
            return []
        folder = Path(f"/proc/{self._pid}/net")
        try:
            return socket_tables.proc(states=states, port=port, folder=folder)
        except OSError:
            if processes.sample_one(pid=self._pid) is None or not (folder / "tcp").exists():
                return []  # it has ended, and its namespace with it
            raise

    def close(self) -> None:
        """Lets go of the namespace. Idempotent."""
        with self._lock:
            if self._netlink is not None:
                self._netlink.close()
                self._netlink = None


def _netlink(pid: int) -> socket.socket | None:
    made: list[socket.socket] = []

    def make() -> None:
        try:
            kernel.enter_network_of(pid)
            made.append(socket_tables.netlink_socket())
        except OSError:
            return  # we are not root, or it has just ended

    thread = threading.Thread(target=make, name="drainproof-netns")
    thread.start()
    thread.join()
    return made[0] if made else None
