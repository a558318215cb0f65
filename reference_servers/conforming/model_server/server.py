"""The server process: uvicorn, with a graceful way to go.

What happens on a stop signal, in this order:

1. The handler runs between two bytecodes and sets flags, nothing else. From this moment readiness is negative and every
   answer carries `Connection: close`, so that clients leave their connections of their own accord.
2. Lame duck: for a short while everything is served as before, new connections too, until the clients have noticed.
3. The listener closes; what waited in its queue is served.
4. Requests in progress are finished. Idle and silent connections are closed when they have been quiet for a while.
5. What is unfinished at the drain's bound is cut: answered 503 where no answer had begun, aborted otherwise.
6. The loop closes, and the process ends with 0, or with 1 where a fatal error was the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn

from model_server.application import Application
from model_server.connection import Connection
from model_server.listener import Listener
from model_server.platforms import STOP_SIGNALS, ignore_stop_signals, say_what_stops_it
from model_server.settings import Settings

ALL_UP, STOP = b"r", b"s"
"""What the supervisor says to a worker."""

ORPHAN_BOUND = 1.0
"""The drain's bound where the supervisor has died: nobody waits for this worker any more."""

log = logging.getLogger("model_server")


class Server(uvicorn.Server):
    """One serving process: the whole server, or one worker of several."""

    def __init__(
        self, *, settings: Settings, application: Application, listener: Listener, connection: type[Connection]
    ) -> None:
        config = uvicorn.Config(
            app=application, http=connection, loop="none", ws="none", lifespan="off", interface="asgi3",
            log_config=None, log_level="warning", access_log=False, proxy_headers=False,
        )  # fmt: skip
        super().__init__(config)
        self.settings = settings
        self.application = application
        self.listener = listener
        self.drain_began = 0.0
        self.bound = 0.0
        self.reason = ""
        self.failure: BaseException | None = None

    # ---- Coming up

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals set flags from here to the end. Before, their default action applies: there is nothing to drain yet.

        At the end they are ignored rather than restored: a late second signal must not turn an orderly exit into a
        death by signal or a KeyboardInterrupt in the interpreter's last milliseconds.
        """
        for signum in STOP_SIGNALS:
            signal.signal(signum, self.handle_exit)
        say_what_stops_it()
        try:
            yield
        finally:
            ignore_stop_signals()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Opens the listener, unless a stop signal came first."""
        self.engine = asyncio.get_running_loop().create_task(self.application.model.engine())
        if self.should_exit:
            return
        await self.open_listener()
        self.started = True
        self.report_up()
        log.info("serving on http://%s:%d", self.settings.host, self.settings.port)

    async def open_listener(self) -> None:
        """From here on clients can connect. Raises OSError where the port is taken."""
        self.listener.open(protocol=self.new_connection)

    def new_connection(self) -> asyncio.Protocol:
        """The protocol object of one accepted connection."""
        keywords: dict[str, Any] = {"config": self.config, "server_state": self.server_state, "app_state": {}}
        return self.config.http_protocol_class(**keywords)

    def report_up(self) -> None:
        """Alone, this process is ready as soon as it listens; one of several, when the supervisor says that all do."""
        if self.settings.channel_fd is None:
            self.application.ready = True
            return
        self.channel = socket.socket(fileno=self.settings.channel_fd)
        self.channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self.channel.fileno(), self.hear_supervisor)
        self.tell_supervisor()

    def tell_supervisor(self) -> None:
        """The first byte says that this worker listens, the second that it drains."""
        if self.settings.channel_fd is not None:
            with contextlib.suppress(ConnectionError):  # it is gone: this is about to be heard
                self.channel.send(b".")

    def hear_supervisor(self) -> None:
        """All workers are up; or stop; or, by the end of the line, the supervisor is gone, and this worker goes too."""
        try:
            heard = self.channel.recv(1)
        except ConnectionError:
            heard = b""
        if heard == STOP:
            self.begin_drain("the supervisor says so")
            return
        if heard:
            self.application.ready = True
            return
        asyncio.get_running_loop().remove_reader(self.channel.fileno())
        self.begin_drain("the supervisor is gone")
        self.bound = min(self.bound, time.monotonic() + ORPHAN_BOUND)

    # ---- Going down

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.begin_drain(signal.Signals(sig).name)

    def begin_drain(self, reason: str) -> None:
        """Says to everybody that this server is going. A second call changes nothing."""
        if self.should_exit:
            return
        self.drain_began = time.monotonic()
        self.bound = self.drain_began + self.settings.drain_bound
        self.reason = reason
        self.application.draining = True
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second while serving; true ends the serving."""
        if self.engine.done():
            self.failure = self.engine.exception()
            self.begin_drain(f"fatal error: {self.failure!r}")
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Steps 2 to 5 of the order above."""
        log.info("draining (%s)", self.reason)
        self.tell_supervisor()
        await self.lame_duck()
        await self.listener.close()
        if not await self.finish_requests():
            await self.cut_the_rest()
        self.engine.cancel()
        await asyncio.gather(self.engine, return_exceptions=True)
        log.info("drained in %.2f s", time.monotonic() - self.drain_began)

    async def lame_duck(self) -> None:
        """Serves on while the news spreads; only where there was somebody to whom it was ready."""
        if self.application.ready:
            await asyncio.sleep(self.drain_began + self.settings.lame_duck - time.monotonic())

    async def finish_requests(self) -> bool:
        """Waits until the last connection is gone. False where the drain's bound came first."""
        while self.server_state.connections or self.server_state.tasks:
            if time.monotonic() >= self.bound:
                return False
            for connection in self.connections():
                if self.may_be_closed(connection):
                    connection.close_unless_something_came()
            await asyncio.sleep(0.01)
        return True

    def may_be_closed(self, connection: Connection) -> bool:
        """Whether it is idle or silent; one that was used just now may be about to be used again."""
        return not connection.busy and connection.quiet_for() >= self.settings.quiet

    def connections(self) -> list[Connection]:
        """The open connections, the one that was active last at the end."""
        ours = [connection for connection in self.server_state.connections if isinstance(connection, Connection)]
        return sorted(ours, key=lambda connection: connection.last_activity)

    async def cut_the_rest(self) -> None:
        """At the bound: those who wait for an answer get a 503, the connections of all others are aborted."""
        log.warning("cutting %d requests at the drain's bound", len(self.application.exchanges))
        for exchange in list(self.application.exchanges):
            exchange.cancel()
        await asyncio.sleep(0.1)
        for connection in self.connections():
            connection.cut()
        await asyncio.sleep(0)
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
