"""HTTP: uvicorn's protocol behind a listener of our own."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from model_server.application import Application
from model_server.connection import Connection
from model_server.listener import Listener
from model_server.settings import Settings

LAST_WORDS = 0.1
"""Seconds in which what was cut can still leave."""


class HttpService:
    """Serves HTTP. `server.py` says when what happens."""

    name = "HTTP"

    def __init__(
        self, *, settings: Settings, application: Application, listener: Listener, connection: type[Connection]
    ) -> None:
        self.settings = settings
        self.application = application
        self.listener = listener
        self.config = uvicorn.Config(
            app=application, http=connection, loop="none", ws="none", lifespan="off", interface="asgi3",
            log_config=None, log_level="warning", access_log=False, proxy_headers=False,
        )  # fmt: skip
        self.state = ServerState()

    async def start(self) -> None:
        """Everything but the listener."""
        self.config.load()

    def open(self) -> None:
        """From here on clients can connect. Raises OSError where the port is taken."""
        self.listener.open(protocol=self.new_connection)

    def new_connection(self) -> asyncio.Protocol:
        """The protocol object of one accepted connection."""
        keywords: dict[str, Any] = {"config": self.config, "server_state": self.state, "app_state": {}}
        return self.config.http_protocol_class(**keywords)

    async def serve(self) -> None:
        """Runs for as long as HTTP is served: keeps the answers' date."""
        while True:
            date = (b"date", formatdate(usegmt=True).encode())
            self.state.default_headers = [date, *self.config.encoded_headers]
            await asyncio.sleep(1.0)

    def connections(self) -> list[Connection]:
        """The open connections, the one that was active last at the end."""
        ours = [connection for connection in self.state.connections if isinstance(connection, Connection)]
        return sorted(ours, key=lambda connection: connection.last_activity)

    async def close_listener(self) -> None:
        """No new connections."""
        await self.listener.close()

    def work_left(self) -> bool:
        """Whether there is anybody left to wait for; closes who is idle."""
        for connection in self.connections():
            if self.may_be_closed(connection):
                connection.close_unless_something_came()
        return bool(self.state.connections or self.state.tasks)

    def may_be_closed(self, connection: Connection) -> bool:
        """Whether it is idle or silent; one that was used just now may be about to be used again."""
        return not connection.busy and connection.quiet_for() >= self.settings.quiet

    async def cut(self) -> None:
        """Those who wait for an answer get a 503, streams their end, the connections of all others are aborted."""
        for exchange in list(self.application.exchanges):
            exchange.cancel()
        await asyncio.sleep(LAST_WORDS)
        self.abandon()
        await asyncio.sleep(0)
        await asyncio.gather(*self.state.tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Nothing to do: what serves HTTP are the connections."""

    def abandon(self) -> None:
        """Lets go of everything at once."""
        self.listener.abandon()
        for connection in self.connections():
            connection.cut()
