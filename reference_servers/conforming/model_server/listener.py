"""The listening socket, accepted from by hand, because asyncio's own server loses connections when it is closed.

`asyncio.Server.close()` drops what waits in the kernel's accept queue (those clients are connected, may have sent their
request, and get a reset), and up to Python 3.13 also a connection that it has just accepted and not set up yet. Here
everything that waits is accepted first, in the same breath as the close; what is left is a window of microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Callable

from model_server.platforms import claim_address

BACKLOG = 2048
ACCEPTS_PER_TURN = 4
"""Connections accepted in one turn of the event loop."""

HESITATION = 0.001
"""Seconds that a worker lets pass, half of the time, before it accepts. All workers wake up for a new connection, and
without this it is nearly always the same one that is there first."""

STEP_BACK = 0.005
"""Seconds in which a worker that has accepted leaves the next one to the others: so a burst is shared."""

RETRY = 0.1
"""Seconds to the next attempt after accepting has failed."""

log = logging.getLogger("model_server")


class Listener:
    """A bound TCP socket, and the connections that are being set up from it."""

    def __init__(self, *, sock: socket.socket, shared: bool = False) -> None:
        self.sock = sock
        self.shared = shared
        self.opening: set[asyncio.Task[None]] = set()
        self.hesitating: asyncio.TimerHandle | None = None
        self.is_open = False

    @classmethod
    def bind(cls, *, host: str, port: int) -> Listener:
        """Binds, but does not listen yet: clients are refused until somebody can serve them. Raises OSError."""
        # With the protocol spelt out: asyncio turns Nagle's algorithm off only for sockets that say that they are TCP.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        claim_address(sock)
        sock.bind((host, port))
        return cls(sock=sock)

    def open(self, *, protocol: Callable[[], asyncio.Protocol]) -> None:
        """Listens, and serves each connection with a new `protocol()`. Raises OSError."""
        self.protocol = protocol
        self.loop = asyncio.get_running_loop()
        self.sock.setblocking(False)
        self.sock.listen(BACKLOG)
        self.is_open = True
        self.watch()

    def watch(self) -> None:
        """Has the event loop tell when a connection waits."""
        self.hesitating = None
        self.loop.add_reader(self.sock.fileno(), self.on_readable)

    def stop_watching(self) -> None:
        """Until the next `watch`."""
        self.loop.remove_reader(self.sock.fileno())
        if self.hesitating is not None:
            self.hesitating.cancel()

    def on_readable(self) -> None:
        """A connection waits, for this worker or for another one."""
        if self.shared and random.random() < 0.5:
            self.hesitate(HESITATION)
        else:
            self.take()

    def take(self) -> None:
        """Accepts a few; one of several workers takes one, and steps back."""
        if not self.shared:
            self.accept(ACCEPTS_PER_TURN)
        elif self.accept(1):
            self.hesitate(STEP_BACK)

    def hesitate(self, seconds: float) -> None:
        """Leaves what waits alone for a while, or to the others."""
        self.stop_watching()
        self.hesitating = self.loop.call_later(seconds, self.after_hesitation)

    def after_hesitation(self) -> None:
        """Takes what is there by now."""
        self.watch()
        self.take()

    def accept(self, at_most: int) -> int:
        """Accepts what waits, `at_most` so many; returns how many it were."""
        for accepted in range(at_most):
            try:
                sock, _ = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return accepted
            except OSError as error:  # no file descriptor left, for example: who waits has to wait on
                log.warning("cannot accept a connection: %s", error.strerror)
                self.hesitate(RETRY)
                return 0
            sock.setblocking(False)
            task = self.loop.create_task(self.set_up(sock))
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)
        return at_most

    async def set_up(self, sock: socket.socket) -> None:
        """Gives an accepted connection its protocol object."""
        with contextlib.suppress(OSError):
            await self.loop.connect_accepted_socket(self.protocol, sock)

    async def close(self) -> None:
        """Stops listening; every connection that was complete before is accepted and set up first."""
        if self.is_open:
            self.stop_watching()
            self.accept(BACKLOG)
        self.abandon()
        await asyncio.gather(*self.opening)

    def abandon(self) -> None:
        """Stops listening at once."""
        if self.is_open:
            self.is_open = False
            self.stop_watching()
        self.sock.close()
