"""The door in front of gRPC: connections are accepted here and passed through to gRPC's own server, byte for byte.

Why gRPC does not accept them itself: its `stop()` closes the listener, announces the end and stops taking calls in one
step, and every call that crosses this step on the wire, or waits to be taken, ends CANCELLED: 29 of 32 that were sent
within 8 ms. Also several workers would need a listening socket each (SO_REUSEPORT), and lose what waits in it at the
close. With a door in front

* the listener is the same as HTTP's, shared by the workers, and is closed in the same way;
* clients are told to go (GOAWAY) while calls are still taken, so that nothing crosses anything;
* gRPC's server is stopped when there is nobody left to talk to it.

Lost: a handler that answers UNAVAILABLE from the signal on, because `stop()` still has to come some time.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import cast

FRAME_HEADER = 9
HEADERS, PUSH_PROMISE, GOAWAY, CONTINUATION = 1, 5, 7, 9
END_HEADERS = 4
LEAVE = struct.pack(">BHBBIII", 0, 8, GOAWAY, 0, 0, 2**31 - 1, 0)
"""A GOAWAY frame that excludes no stream and names no error: no new calls on this connection, please."""

Connect = Callable[[asyncio.Protocol], Awaitable[object]]
"""Opens a connection to gRPC's own server."""


class Frames:
    """Follows the frames of HTTP/2 in a stream of bytes."""

    def __init__(self) -> None:
        self.header = bytearray()
        self.missing = 0
        self.begun = False
        self.block_open = False
        """Between HEADERS and the end of its CONTINUATIONs no other frame may stand."""

    @property
    def at_boundary(self) -> bool:
        """Whether a frame of ours may be written here; the server's first one has to be its own."""
        return self.begun and not self.header and not self.missing and not self.block_open

    def feed(self, data: bytes) -> int:
        """Takes the next bytes; returns the position of the last boundary in them, or 0."""
        position = last = 0
        while position < len(data):
            if self.missing:
                step = min(self.missing, len(data) - position)
                self.missing -= step
            else:
                step = min(FRAME_HEADER - len(self.header), len(data) - position)
                self.header += data[position : position + step]
                if len(self.header) == FRAME_HEADER:
                    self.begin_frame()
            position += step
            if self.at_boundary:
                last = position
        return last

    def begin_frame(self) -> None:
        """The header is complete."""
        self.missing = int.from_bytes(self.header[:3], "big")
        if self.header[3] in (HEADERS, PUSH_PROMISE, CONTINUATION):
            self.block_open = not self.header[4] & END_HEADERS
        self.begun = True
        self.header.clear()


class Side(asyncio.Protocol):
    """One side of a connection that is passed through. What comes in here goes out on the other."""

    transport: asyncio.Transport | None = None
    other: Side

    def __init__(self, *, passage: Passage) -> None:
        self.passage = passage

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.passage.last_activity = time.monotonic()
        self.other.write(data)

    def write(self, data: bytes) -> None:
        """To whoever is on this side."""
        if self.transport is not None:
            self.transport.write(data)

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.passage.close()


class ClientSide(Side):
    """The client's side; the frames that leave here are followed."""

    def __init__(self, *, passage: Passage) -> None:
        super().__init__(passage=passage)
        self.frames = Frames()
        self.leaving = False
        self.told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.passage.open()

    def write(self, data: bytes) -> None:
        boundary = self.frames.feed(data)
        if self.leaving and not self.told and boundary:
            self.told = True
            data = data[:boundary] + LEAVE + data[boundary:]
        super().write(data)

    def leave(self) -> None:
        """Asks the client to make no more calls here, as soon as a frame may stand."""
        self.leaving = True
        if self.frames.at_boundary and not self.told:
            self.told = True
            super().write(LEAVE)


class Passage:
    """One connection through the door."""

    def __init__(self, *, connect: Connect, passages: set[Passage]) -> None:
        self.connect = connect
        self.passages = passages
        self.client, self.server = ClientSide(passage=self), Side(passage=self)
        self.client.other, self.server.other = self.server, self.client
        self.last_activity = time.monotonic()
        self.connecting: asyncio.Task[None] | None = None
        self.closed = False

    def open(self) -> None:
        """The client is there: nothing is read from it until there is somewhere to put it."""
        self.passages.add(self)
        assert self.client.transport is not None
        self.client.transport.pause_reading()
        self.connecting = asyncio.get_running_loop().create_task(self.reach_server())

    async def reach_server(self) -> None:
        """Connects the other side."""
        try:
            await self.connect(self.server)
        except OSError:
            self.close()
            return
        if self.closed:
            self.close()
        elif self.client.transport is not None:
            self.client.transport.resume_reading()

    @property
    def unsent(self) -> bool:
        """Whether an answer has not left completely yet."""
        return self.client.transport is not None and self.client.transport.get_write_buffer_size() > 0

    def quiet_for(self) -> float:
        """Seconds since a byte last came in, on either side."""
        return time.monotonic() - self.last_activity

    def close(self) -> None:
        """Ends both sides; what was on its way out still leaves."""
        self.closed = True
        self.passages.discard(self)
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.close()

    def cut(self) -> None:
        """Ends both sides now."""
        self.close()
        for side in (self.client, self.server):
            if side.transport is not None:
                side.transport.abort()
