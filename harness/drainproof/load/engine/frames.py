"""HTTP/2 as it passes by: just enough of its framing to tell what became of each gRPC call. It changes nothing.

Only frame headers are read, and of a few frames the beginning of their payload. Header blocks stay closed (they are
compressed): what a status says is for the gRPC library; that one came, and when, is told by the frames alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS, PADDED = 0x1, 0x4, 0x8
OF_A_CALL = (DATA, HEADERS, CONTINUATION)
"""What a call and its answer are made of."""

REFUSED_STREAM = 7
"""The error code that promises that the server has not touched the request."""

ERRORS = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
]

_HEAD = struct.Struct("!HBBBL")
_NUMBERS = struct.Struct("!LL")
_KEPT = {RST_STREAM: 4, GOAWAY: 8}
"""How much of these payloads is looked at."""


def error_name(code: int) -> str:
    """An HTTP/2 error code by its name."""
    return ERRORS[code] if code < len(ERRORS) else f"error {code}"


@dataclass(slots=True)
class Frame:
    """A frame that has begun, or a part of one: DATA frames come in parts as they arrive, others when complete."""

    kind: int
    stream: int
    flags: int
    payload: bytes
    """Without the padding of a DATA frame."""
    complete: bool
    """Nothing more of this frame follows."""
    ends_stream: bool
    """The sender has nothing more to say on this stream: its last DATA, or the end of its last header block."""

    def numbers(self) -> tuple[int, int]:
        """Of a GOAWAY: the last stream that counts, and the error code."""
        last, code = _NUMBERS.unpack_from(self.payload)
        return last & 0x7FFFFFFF, code

    def error(self) -> int:
        """Of an RST_STREAM: the error code."""
        return int.from_bytes(self.payload[:4], "big")


class FrameReader:
    """Cuts one direction of a connection into frames. `feed` takes bytes as they come, in whatever pieces."""

    def __init__(self, *, preface: int = 0) -> None:
        """`preface`: how many bytes come before the first frame."""
        self._skip = preface
        self._head = b""
        self._left = 0
        """Bytes of the current frame's payload that are still to come."""
        self._kind = self._flags = self._stream = 0
        self._kept = b""
        self._padding: int | None = 0
        """Bytes at the end of the current DATA frame that are no data; None: the byte that tells is still to come."""
        self._last_block = False
        """The header block that has begun, and may be continued, is the last of its stream."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames (and parts of DATA frames) in `data`, in order."""
        position = 0
        if self._skip:
            position = min(self._skip, len(data))
            self._skip -= position
        while position < len(data):
            if self._left == 0:
                taken = data[position : position + 9 - len(self._head)]
                self._head += taken
                position += len(taken)
                if len(self._head) < 9:
                    return
                self._begin()
                if self._left == 0:
                    yield self._frame(b"", complete=True)
                continue
            if self._padding is None:
                self._padding = data[position]
                position += 1
                self._left -= 1
                if self._left == 0:
                    yield self._frame(b"", complete=True)
                continue
            part = data[position : position + self._left]
            position += len(part)
            self._left -= len(part)
            if self._kind == DATA:
                beyond = max(0, self._padding - self._left)
                yield self._frame(part[: max(0, len(part) - beyond)], complete=self._left == 0)
            else:
                if (room := _KEPT.get(self._kind, 0) - len(self._kept)) > 0:
                    self._kept += part[:room]
                if self._left == 0:
                    yield self._frame(self._kept, complete=True)

    def _begin(self) -> None:
        high, low, self._kind, self._flags, stream = _HEAD.unpack(self._head)
        self._left = high << 8 | low
        self._stream = stream & 0x7FFFFFFF
        self._head = self._kept = b""
        self._padding = None if self._kind == DATA and self._flags & PADDED else 0
        if self._kind == HEADERS:
            self._last_block = bool(self._flags & END_STREAM)

    def _frame(self, payload: bytes, *, complete: bool) -> Frame:
        if self._kind == DATA:
            ends = bool(self._flags & END_STREAM)
        else:
            ends = self._kind in (HEADERS, CONTINUATION) and self._last_block and bool(self._flags & END_HEADERS)
        return Frame(self._kind, self._stream, self._flags, payload, complete, complete and ends)


class MessageCounter:
    """Counts the gRPC messages in the DATA frames of one stream: each has a byte of flags and four of its length."""

    __slots__ = ("_head", "_left", "count")

    def __init__(self) -> None:
        self.count = 0
        """Complete messages so far."""
        self._head = b""
        self._left = 0

    @property
    def within(self) -> bool:
        """A message has begun and is not complete."""
        return bool(self._head) or self._left > 0

    def feed(self, data: bytes) -> None:
        """Takes the payload of DATA frames (without padding)."""
        position = 0
        while position < len(data):
            if self._left:
                taken = min(self._left, len(data) - position)
                self._left -= taken
                position += taken
                self.count += self._left == 0
                continue
            piece = data[position : position + 5 - len(self._head)]
            self._head += piece
            position += len(piece)
            if len(self._head) == 5:
                self._left = int.from_bytes(self._head[1:], "big")
                self._head = b""
                self.count += self._left == 0
