"""The door in front of gRPC: connections are accepted here and passed through to gRPC's own server, byte for byte.

Why gRPC does not accept them itself: its `stop()` closes the listener, announces the end and stops taking calls in one
step, and every call that crosses this step on the wire, or waits to be taken, ends CANCELLED: 29 of 32 that were sent
within 8 ms. Also several workers would need a listening socket each (SO_REUSEPORT), and lose what waits in it at the
close. With a door in front

* the listener is the same as HTTP's, shared by the workers, and is closed in the same way;
* clients are told to go (GOAWAY) while calls are still taken, so that nothing crosses anything;
* gRPC's server is stopped when there is nobody left to talk to it. The streams that pass are counted, because a handler
  that has returned says nothing about its answer: it leaves from a thread of gRPC, whenever that gets to run.

Lost: a handler that answers UNAVAILABLE from the signal on, because `stop()` still has to come some time.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import cast

PREFACE = 24
"""Bytes that a client sends before its first frame."""

FRAME_HEADER = 9
DATA, HEADERS, RST_STREAM, PUSH_PROMISE, GOAWAY, CONTINUATION = 0, 1, 3, 5, 7, 9
END_STREAM, END_HEADERS = 1, 4
LEAVE = struct.pack(">BHBBIII", 0, 8, GOAWAY, 0, 0, 2**31 - 1, 0)
"""A GOAWAY frame that excludes no stream and names no error: no new calls on this connection, please."""

Connect = Callable[[asyncio.Protocol], Awaitable[object]]
"""Opens a connection to gRPC's own server."""


class Frames:
    """Follows the frames of HTTP/2 in a stream of bytes.

    `on_frame` is called with type, flags and stream of each frame when its header is there.
    """

    def __init__(self, *, on_frame: Callable[[int, int, int], None], preface: int = 0) -> None:
        self.on_frame = on_frame
        self.header = bytearray()
        self.missing = preface
        self.begun = False
        self.block_open = False
        """Between HEADERS and the end of its CONTINUATIONs no other frame may stand."""

    @property
    def within(self) -> bool:
        """Whether the next byte belongs to the same frame, or block of headers, as the last one."""
        return bool(self.header or self.missing or self.block_open)

    @property
    def at_boundary(self) -> bool:
        """Whether a frame of ours may be written here; the first one has to be the sender's own."""
        return self.begun and not self.within

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
        kind, flags, stream = self.header[3], self.header[4], int.from_bytes(self.header[5:], "big")
        if kind in (HEADERS, PUSH_PROMISE, CONTINUATION):
            self.block_open = not flags & END_HEADERS
        self.begun = True
        self.header.clear()
        self.on_frame(kind, flags, stream)


class Side(asyncio.Protocol):
    """One side of a connection that is passed through. What comes in here goes out on the other."""

    transport: asyncio.Transport | None = None
    other: Side

    def __init__(self, *, passage: Passage) -> None:
        self.passage = passage
        self.early = bytearray()
        """What came before there was a connection to write it to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self.early:
            self.transport.write(bytes(self.early))
            self.early.clear()

    def data_received(self, data: bytes) -> None:
        self.passage.last_activity = time.monotonic()
        self.other.write(data)

    def write(self, data: bytes) -> None:
        """To whoever is on this side."""
        if self.transport is not None:
            self.transport.write(data)
        else:
            self.early += data

    def pause_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other.transport is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.passage.close()


class ClientSide(Side):
    """The client's side: the frames that come in and go out here are followed."""

    def __init__(self, *, passage: Passage) -> None:
        super().__init__(passage=passage)
        self.sent = Frames(on_frame=self.on_sent)
        self.received = Frames(on_frame=self.on_received, preface=PREFACE)
        self.streams: set[int] = set()
        """The calls that are not answered completely."""
        self.leaving = False
        self.told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.passage.open()

    def data_received(self, data: bytes) -> None:
        self.received.feed(data)
        super().data_received(data)

    def write(self, data: bytes) -> None:
        boundary = self.sent.feed(data)
        if self.leaving and not self.told and boundary:
            self.told = True
            data = data[:boundary] + LEAVE + data[boundary:]
        super().write(data)

    def on_received(self, kind: int, flags: int, stream: int) -> None:
        """A frame of the client."""
        if kind == HEADERS:
            self.streams.add(stream)
        elif kind == RST_STREAM:
            self.streams.discard(stream)

    def on_sent(self, kind: int, flags: int, stream: int) -> None:
        """A frame of the server."""
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.streams.discard(stream)

    @property
    def busy(self) -> bool:
        """Whether an answer is owed, or has not left completely."""
        unsent = self.transport is not None and self.transport.get_write_buffer_size() > 0
        return bool(self.streams) or self.sent.within or unsent

    def leave(self) -> None:
        """Asks the client to make no more calls here, as soon as a frame may stand."""
        self.leaving = True
        if self.sent.at_boundary and not self.told:
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
        """The client is there: nothing is read from it until there is somewhere to put it.

        But for what is there already: Python 3.11.2 (Debian 12) and older ones begin to read after `connection_made`,
        whether or not that has paused it.
        """
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
