"""Faults that begin before the target does: a port that is taken, a model that cannot be loaded, a fatal request."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from drainproof.errors import Unsupported
from drainproof.faults.bench import Bench, Trigger
from drainproof.load.attempt import attempt
from drainproof.target.description import Target


@dataclass(frozen=True, kw_only=True)
class PortTaken:
    """A listener of ours holds the port `port` (by its name in the manifest) on every address before the launch."""

    port: str = "http"

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target has no such port."""
        if self.port not in target.ports:
            raise Unsupported(f"the target has no port named {self.port}, only {', '.join(target.ports)}")

    def prepare(self, bench: Bench) -> None:
        """Binds the port, without SO_REUSEPORT, so that nobody can share it."""
        held = []
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                listener = socket.socket(family, socket.SOCK_STREAM)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((address, bench.ports[self.port]))
                listener.listen()
            except OSError:
                if family == socket.AF_INET:
                    raise
                continue  # no IPv6 here, so nobody can listen there either
            held.append(listener)
            bench.cleanup.append(listener.close)

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "port_taken", "port_name": self.port}

    def arm(self, bench: Bench) -> Trigger:
        """The port is taken already; the trigger proves it."""
        return lambda: self._proof(bench)

    def _proof(self, bench: Bench) -> dict[str, Any]:
        """Nobody else can bind the port now."""
        number = bench.ports[self.port]
        proof = {**self.describe(), "t": time.monotonic(), "port": number}
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError as error:
                return {**proof, "proven": True, "because": f"port {number} could not be bound: {error.strerror}"}
        return {**proof, "proven": False, "because": f"port {number} could be bound although it should be taken"}


@dataclass(frozen=True, kw_only=True)
class LoadFailure:
    """The model cannot be loaded, by the means that the manifest declares."""

    def check(self, target: Target) -> None:
        """Raises Unsupported where the manifest does not say how."""
        if target.load_failure is None:
            raise Unsupported(
                "the manifest does not say how to make the model fail to load: declare [provoke.load_failure] with "
                "env or args that do it"
            )

    def prepare(self, bench: Bench) -> None:
        """Adds the declared environment and arguments to the launch."""
        provocation = bench.target.load_failure
        assert provocation is not None
        bench.environment.update(provocation.environment)
        bench.arguments.extend(provocation.arguments)

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "load_failure"}

    def arm(self, bench: Bench) -> Trigger:
        """The target was started that way; the trigger says so."""
        return lambda: {
            **self.describe(),
            "t": time.monotonic(),
            "proven": True,
            "because": f"started with {bench.environment or ''} {bench.arguments or ''}".strip(),
        }


@dataclass(frozen=True, kw_only=True)
class FatalRequest:
    """Sends the request that the manifest declares as fatal."""

    def check(self, target: Target) -> None:
        """Raises Unsupported where the manifest does not say how."""
        if target.fatal is None:
            raise Unsupported(
                "the manifest does not say how to make the server die of an internal error: declare [provoke.fatal], "
                "a request that does it"
            )

    def prepare(self, bench: Bench) -> None:
        """Adds the environment and arguments that the fatal request needs."""
        assert bench.target.fatal is not None
        bench.environment.update(bench.target.fatal.environment)
        bench.arguments.extend(bench.target.fatal.arguments)

    def describe(self) -> dict[str, Any]:
        """The fault as JSON values."""
        return {"kind": "fatal_request"}

    def arm(self, bench: Bench) -> Trigger:
        """Nothing takes time."""
        return lambda: self._inject(bench)

    def _inject(self, bench: Bench) -> dict[str, Any]:
        """Sends it once; whatever the answer, the proof is that its bytes were taken."""
        assert bench.target.fatal is not None
        before = time.monotonic()
        outcome = attempt(
            request=bench.target.fatal.request,
            host=bench.running.host,
            port=bench.ports[bench.target.fatal.request.port],
            token="fatal",
            timeout=2.0,
        )
        return {
            **self.describe(),
            "t": before,
            "proven": outcome.sent and (outcome.right or outcome.status is None),
            "because": f"the fatal request was sent; {outcome.text}"
            + (f", which is not what the manifest expects of it: {outcome.wrong}" if outcome.status else ""),
        }
