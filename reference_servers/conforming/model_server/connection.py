"""One HTTP connection, on uvicorn's own protocol: knows whether it is in use, and how to close losing nothing."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from model_server.platforms import something_came


class Connection(HttpToolsProtocol):
    """Counts the requests that began to arrive and the answers that were given completely."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.begun = 0
        self.answered = 0
        self.last_activity = time.monotonic()

    def data_received(self, data: bytes) -> None:
        self.last_activity = time.monotonic()
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.begun += 1
        super().on_message_begin()

    def on_response_complete(self) -> None:
        self.answered += 1
        self.last_activity = time.monotonic()
        super().on_response_complete()

    @property
    def busy(self) -> bool:
        """A request is on it, even if only its first byte has come, or the end of an answer has not left yet."""
        return self.begun > self.answered or self.transport.get_write_buffer_size() > 0

    def quiet_for(self) -> float:
        """Seconds since the last byte came in or the last answer was complete."""
        return time.monotonic() - self.last_activity

    def close_unless_something_came(self) -> None:
        """Closes an idle connection, in a way that leaves the smallest possible window for a request to be lost.

        The kernel may hold a request that the event loop has not read yet: then the connection stays. Otherwise the
        FIN leaves in the same breath (`transport.close()` would close a turn of the loop later), so whatever the client
        sends from now on it sends on a connection that it could have known to be closed.
        """
        sock = self.transport.get_extra_info("socket")
        if something_came(sock):
            return
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_WR)
        self.transport.close()

    def cut(self) -> None:
        """Ends the connection now, whatever is on it."""
        self.transport.abort()
