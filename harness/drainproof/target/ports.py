"""Free TCP ports for a target.

A port that is free now must still be free when the target binds it, some seconds later. Asking the kernel for one
(bind to port 0, close, hand the number on) gives numbers of the ephemeral range, from which every outgoing connection
of the machine takes its local port too, those of our own load included. So ports are chosen outside of that range.
Against other drainproof processes on this machine a number is reserved by a Unix socket in the abstract namespace
that is named after it: it belongs to the network namespace as the ports do, leaves no file, and vanishes with its
process.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drainproof.errors import HarnessError

_LOWEST = 10_000
"""Below are too many well-known numbers."""
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Reservation(Mapping[str, int]):
    """Port numbers by name, held until `release` or the end of a `with` block."""

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}
        self._holds: list[socket.socket] = []

    def __getitem__(self, name: str) -> int:
        return self._ports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)

    def __repr__(self) -> str:
        return f"<Reservation {self._ports}>"

    def _add(self, name: str, port: int, hold: socket.socket) -> None:
        self._ports[name] = port
        self._holds.append(hold)

    def release(self) -> None:
        """Lets other drainproof processes have the numbers. Idempotent."""
        while self._holds:
            self._holds.pop().close()

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def reserve(*, names: Sequence[str] = ("http",)) -> Reservation:
    """Reserves a free port for each name. Raises HarnessError where there are not enough."""
    reservation = Reservation()
    candidates = candidate_ports()
    random.SystemRandom().shuffle(candidates)  # a seeded `random`, as tests like it, would make all of us want the same
    for name in names:
        while candidates:
            port = candidates.pop()
            hold = _hold(port)
            if hold is None:
                continue
            if _bindable(port):
                reservation._add(name, port, hold)
                break
            hold.close()
        else:
            reservation.release()
            raise HarnessError(f"no free TCP port outside of the ephemeral range was found for {name!r}")
    return reservation


def ephemeral_range() -> tuple[int, int]:
    """The first and the last port that outgoing connections take their local port from."""
    try:
        low, high = map(int, _RANGE.read_text().split())
    except (OSError, ValueError):
        return 32768, 60999
    return low, high


def candidate_ports() -> list[int]:
    """Where to choose from: outside of the ephemeral range; anywhere in it, only where it leaves nothing else."""
    low, high = ephemeral_range()
    outside = [port for port in range(_LOWEST, 65536) if not low <= port <= high]
    return outside if len(outside) >= 100 else list(range(_LOWEST, 65536))


def _hold(port: int) -> socket.socket | None:
    hold = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        hold.bind(f"\0drainproof-port-{port}")
    except OSError as error:
        hold.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return hold


def _bindable(port: int) -> bool:
    """Whether a server can listen on it at every address that it may choose, also one that sets no SO_REUSEADDR."""
    addresses = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0")]
    if socket.has_ipv6:
        addresses += [(socket.AF_INET6, "::1"), (socket.AF_INET6, "::")]
    for family, address in addresses:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                continue  # a kernel, or a network namespace, without IPv6
            return False
    return True
