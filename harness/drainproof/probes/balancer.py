"""Asks a load balancer again and again what it thinks of its servers, and writes what it says to the evidence.

Written as health probes are: `{"t0", "t", "probe": "balancer", "path": SERVER, "value": {"up", "check"}}`, both
sides of each change and once a second while nothing changes; `history` reads it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from drainproof.errors import HarnessError
from drainproof.probes.sampler import Channel

PROBE = "balancer"

EVERY = 0.02
"""Seconds between two looks: a fraction of what the balancer itself lets pass between two health checks."""

HEARTBEAT = 1.0
"""Seconds that nothing is written while nothing changes."""

_JOIN = 10.0


class State(Protocol):
    """What the balancer says of one server."""

    @property
    def up(self) -> bool:
        """Whether it sends requests there."""
        ...

    @property
    def check(self) -> str:
        """How its last health check ended."""
        ...


class BalancerWatch:
    """Looks from `start` to `stop`, in a thread of its own."""

    def __init__(
        self,
        *,
        states: Callable[[], Mapping[str, State]],
        servers: Iterable[str],
        write: Callable[[dict[str, Any]], None],
    ) -> None:
        self._states = states
        self._channels = {
            name: Channel(write=write, heartbeat=HEARTBEAT, head={"probe": PROBE, "path": name}) for name in servers
        }
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._loop, name="drainproof-probe-balancer", daemon=True)

    def start(self) -> None:
        """Starts to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the looking. Idempotent. Raises HarnessError where a look failed: nothing is known since then."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN)
        if self._thread.is_alive():
            raise HarnessError(f"the probe of the load balancer did not end within {_JOIN:g} s")
        if self._failure is not None:
            raise HarnessError(f"the load balancer could not be watched: {self._failure}") from self._failure
        for channel in self._channels.values():
            channel.flush()

    def _loop(self) -> None:
        try:
            while not self._stop.is_set():
                t0 = time.monotonic()
                states = self._states()
                t = time.monotonic()
                for name, channel in self._channels.items():
                    state = states[name]
                    # While a server is up, how its last check ended tells nothing new.
                    value = {"up": True} if state.up else {"up": False, "check": state.check}
                    channel.see(t0=t0, t=t, identity=value, value=value)
                self._stop.wait(EVERY)
        except BaseException as error:  # stop() raises it again
            self._failure = error
