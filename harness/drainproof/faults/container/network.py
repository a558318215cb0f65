"""The container's network is taken away for a while, and given back.

By the engine, which removes its interface and its published ports, and makes both anew: nobody has to be root, and what
the server sees is what it sees when a network plugin fails. Its connections are lost, without a word to either side.
Measured with Docker 20.10 without docker-proxy: the ports come back under the same numbers, the address as a rule too.

Lost: to take the host's end of its veth pair down and up. That needs root and a pair, and tells less: no connection is
lost then, TCP only has to be patient.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from drainproof.errors import Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.container.common import ask, container_of, give_back, only_in_containers
from drainproof.faults.reading import read_sockets
from drainproof.target.container.engine import speaking
from drainproof.target.description import Target


@dataclass(frozen=True, kw_only=True)
class NetworkLost:
    """Takes the container from all its networks for `seconds`."""

    seconds: float

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target is not launched in a container."""
        only_in_containers(target)

    def prepare(self, bench: Bench) -> None:
        """Nothing to prepare."""

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "network_lost", "seconds": self.seconds}

    def arm(self, bench: Bench) -> Trigger:
        """Finds its networks."""
        networks = ask(bench, "asked for the networks of the container", lambda: _networks(bench))
        if not networks:
            raise Unsupported("the container has no network of its own")
        return lambda: self._inject(bench, networks)

    def _inject(self, bench: Bench, networks: dict[str, Any]) -> dict[str, Any]:
        container, pid = container_of(bench).container, bench.running.pid
        table = read_sockets(bench)
        usual, since = _interfaces(pid), time.monotonic()
        taken: list[str] = []
        away: list[set[str]] = []
        try:
            for name, network in networks.items():
                ask(bench, "took the network away", partial(network.disconnect, container))
                taken.append(name)
            away.append(_interfaces(pid))
            bench.running.wait_exit(until=time.monotonic() + self.seconds)
            away.append(_interfaces(pid))
        finally:
            for name in taken:
                give_back(bench, "gave the network back", partial(networks[name].connect, container))
        over, back = time.monotonic(), _interfaces(pid)
        unpublished = _unpublished(bench)
        ended = bench.running.exit_status() is not None
        proven = bool(usual) and away == [set(), set()] and (ended or (bool(back) and not unpublished))
        return {
            **self.describe(),
            "t": since,
            "over": over,
            "proven": proven,
            "because": f"its interfaces were {_named(usual)}; for {over - since:.1f} s {_named(away[0] | away[1])}; "
            + ("then it had ended" if ended else f"then {_named(back)}")
            + (f"; the engine did not publish port {unpublished[0]} again" if unpublished else ""),
            "sockets": table,
        }


def _unpublished(bench: Bench) -> list[int]:
    """The ports that it can no longer be reached at."""
    container = container_of(bench).container
    with speaking("looked at the ports of the container"):
        container.reload()
    bindings = container.attrs["NetworkSettings"]["Ports"] or {}
    published = {int(each["HostPort"]) for found in bindings.values() for each in found or ()}
    return sorted(set(bench.ports.values()) - published)


def _networks(bench: Bench) -> dict[str, Any]:
    container = container_of(bench).container
    container.reload()
    names = container.attrs["NetworkSettings"]["Networks"]
    return {name: container.client.networks.get(name) for name in names if name not in ("host", "none")}


def _interfaces(pid: int) -> set[str]:
    """The network interfaces that it has beside its own loopback."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/net/dev").read_text().splitlines()
        return {line.partition(":")[0].strip() for line in lines if ":" in line} - {"lo"}
    return set()


def _named(interfaces: set[str]) -> str:
    return " and ".join(sorted(interfaces)) or "none"
