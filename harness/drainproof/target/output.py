"""The target's output on its way into `output.jsonl`: stamped, bounded, and cheap enough for a flood.

Why it is built this way. Whoever reads the pipes sets the target's pace, and the same loop stamps the exit of the
target. So `feed` does next to nothing per byte (find the last line feed, append), and the costly part, making JSON, is
done in slices by `work`, whenever there is time. One line at a time through `json.dumps` was tried first: a flood of
short lines took 3 µs each, ten times what the C encoder takes when `map` and `join` drive it.

Memory and disk are bounded per stream: the first `HEAD` bytes go to the file, the newest `TAIL` bytes wait in memory
and follow at the end, and what falls out between them is only counted, except for lines that hold one of the literals
that somebody will look for: those are kept (up to `KEEP` bytes) together with the traceback that follows them.

The records of one stream are in order. Those of two streams are too, until one of them exceeds its head; sort by `t`.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable
from json.encoder import encode_basestring_ascii
from time import monotonic
from typing import NamedTuple

from drainproof.hidden import NOTHING, Hidden

LONGEST_LINE = 64 * 1024
HEAD = 16 << 20
TAIL = 16 << 20
KEEP = 1 << 20
RECENT = 64 * 1024
FLUSH_INTERVAL = 0.25
LINE_COST = 64
"""What a line costs beyond its own bytes: the JSON around it, or the Python objects that hold it."""
SLICE = 8 * 1024
"""Bytes that are made into JSON in one go: at most about a millisecond, even where every line is empty."""
CONTEXT_LINES = 100


class Unit(NamedTuple):
    """Whole lines that arrived together, or one piece of a line that is too long."""

    stream: str
    time: float
    data: bytes
    """With the last line feed; a piece has none."""
    cut: bool
    """The line goes on in the stream's next unit."""

    @property
    def lines(self) -> int:
        """How many lines end in it."""
        return 0 if self.cut else max(self.data.count(b"\n"), 1)

    def to_json(self, hidden: Hidden, extra: str = "") -> str:
        """The records for all of its lines, without secrets."""
        text = hidden.replace(self.data).decode("utf-8", "surrogateescape")
        if not self.cut and text.endswith("\n"):
            text = text[:-1]
        head = f'{{"t": {self.time:.6f}, "stream": "{self.stream}", "text": '
        if self.cut:
            return f'{head}{encode_basestring_ascii(text)}{extra}, "cut": true}}\n'
        tail = extra + "}\n"
        return head + (tail + head).join(map(encode_basestring_ascii, text.split("\n"))) + tail


class Stream:
    """The state of one pipe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rest = b""
        """The line that has not ended yet."""
        self.rest_since = 0.0
        self.head_used = 0
        self.tail: deque[Unit] = deque()
        self.tail_used = 0
        self.kept = 0
        self.dropped_lines = 0
        self.dropped_bytes = 0
        self.context = 0
        """How many lines more may belong to the traceback of a line that was kept."""
        self.ended = False


def _whole_characters(data: bytes, limit: int) -> int:
    """The largest cut up to `limit` that does not split a UTF-8 character."""
    for back in range(4):
        if limit - back < len(data) and data[limit - back] & 0xC0 != 0x80:
            return limit - back
    return limit


class OutputLog:
    """Writes `output.jsonl`. It never raises for a file that cannot be written: see `problem`."""

    def __init__(
        self,
        path: str,
        *,
        streams: Iterable[str],
        literals: Iterable[str] = (),
        hidden: Hidden = NOTHING,
        head: int = HEAD,
        tail: int = TAIL,
        keep: int = KEEP,
    ) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self.size = 0
        self.problem: str | None = None
        """The newest reason why something could not be written."""
        self.unwritten_bytes = 0
        self.streams = {name: Stream(name) for name in streams}
        self.literals = [literal.encode() for literal in literals]
        self.hidden = hidden
        self.limits = head, tail, keep
        self.pending: deque[Unit] = deque()
        self.buffer: list[str] = []
        self.buffered = 0
        self.flush_due: float | None = None
        self.recent_units: deque[Unit] = deque()
        self.recent_used = 0

    # -- in: called for every read ---------------------------------------------------------------------------------

    def feed(self, name: str, now: float, data: bytes) -> None:
        """Takes what was read from a pipe; no more than LONGEST_LINE bytes at a time."""
        stream = self.streams[name]
        if stream.rest:
            data = stream.rest + data
        else:
            stream.rest_since = now
        first = data.find(b"\n", 0, LONGEST_LINE + 1)
        while (
            first < 0 and len(data) > LONGEST_LINE
        ):  # only the first line can be that long: the others came in one read
            at = self.hidden.cut(data, _whole_characters(data, LONGEST_LINE))
            self._add(stream, Unit(name, now, data[:at], True))
            data = data[at:]
            first = data.find(b"\n", 0, LONGEST_LINE + 1)
        end = data.rfind(b"\n") + 1
        if end:
            self._add(stream, Unit(name, now, data[:end] if end < len(data) else data, False))
            stream.rest_since = now
        stream.rest = data[end:]
        if self.flush_due is None:
            self.flush_due = now + FLUSH_INTERVAL

    def _add(self, stream: Stream, unit: Unit) -> None:
        head, tail, _ = self.limits
        cost = len(unit.data) + LINE_COST * (unit.lines + 1)
        self.recent_units.append(unit)
        self.recent_used += len(unit.data)
        while self.recent_used > RECENT and len(self.recent_units) > 1:
            self.recent_used -= len(self.recent_units.popleft().data)
        if stream.head_used < head:
            stream.head_used += cost
            self.pending.append(unit)
            return
        stream.tail.append(unit)
        stream.tail_used += cost
        while stream.tail_used > tail and len(stream.tail) > 1:
            oldest = stream.tail.popleft()
            stream.tail_used -= len(oldest.data) + LINE_COST * (oldest.lines + 1)
            self._drop(stream, oldest)

    def _drop(self, stream: Stream, unit: Unit) -> None:
        """Counts a unit of the middle, and keeps the lines in it that somebody will look for."""
        if not self._worth_keeping(stream, unit):
            stream.dropped_lines += unit.lines
            stream.dropped_bytes += len(unit.data)
            return
        for line in unit.data.removesuffix(b"\n").split(b"\n"):
            if stream.kept < self.limits[2] and self._keep_line(stream, line):
                self._say_dropped(stream, unit.time)
                record = Unit(stream.name, unit.time, line, unit.cut).to_json(self.hidden, ', "kept": true')
                stream.kept += len(record)
                self._write(record)
            else:
                stream.dropped_lines += not unit.cut
                stream.dropped_bytes += len(line) + (not unit.cut)

    def _worth_keeping(self, stream: Stream, unit: Unit) -> bool:
        if stream.kept >= self.limits[2]:
            return False
        return stream.context > 0 or any(literal in unit.data for literal in self.literals)

    def _keep_line(self, stream: Stream, line: bytes) -> bool:
        if any(literal in line for literal in self.literals):
            stream.context = CONTEXT_LINES
            return True
        if stream.context:
            # A traceback: indented lines, and the exception itself in the first one that is not.
            stream.context = stream.context - 1 if line.startswith(b" ") else 0
            return True
        return False

    def _say_dropped(self, stream: Stream, now: float) -> None:
        if stream.dropped_lines or stream.dropped_bytes:
            what = {"dropped_lines": stream.dropped_lines, "dropped_bytes": stream.dropped_bytes}
            record = json.dumps({"t": round(now, 6), "stream": stream.name, **what}) + "\n"
            stream.kept += len(record)
            stream.dropped_lines = stream.dropped_bytes = 0
            self._write(record)

    # -- out: called whenever there is time ------------------------------------------------------------------------

    def work(self, *, until: float) -> None:
        """Makes JSON of what is pending, no longer than until that moment, and writes it when it is time to."""
        while self.pending:
            unit = self.pending.popleft()
            if len(unit.data) > SLICE and not unit.cut and (at := unit.data.rfind(b"\n", 0, SLICE) + 1):
                self.pending.appendleft(unit._replace(data=unit.data[at:]))
                unit = unit._replace(data=unit.data[:at])
            self._write(unit.to_json(self.hidden))
            if monotonic() >= until:
                break
        if self.flush_due is not None and monotonic() >= self.flush_due:
            self._flush_rests()
            self.flush()

    def _flush_rests(self) -> None:
        """A line that has waited for its end for too long goes to the file as a piece."""
        now = monotonic()
        for stream in self.streams.values():
            if stream.rest and now - stream.rest_since > FLUSH_INTERVAL:
                at = self.hidden.cut(stream.rest, _whole_characters(stream.rest + b" ", len(stream.rest)))
                if not at:  # all of it may be the beginning of a secret
                    continue
                unit, stream.rest = Unit(stream.name, stream.rest_since, stream.rest[:at], True), stream.rest[at:]
                self._add(stream, unit)
                stream.rest_since = now

    def _write(self, records: str) -> None:
        self.buffer.append(records)
        self.buffered += len(records)
        if self.buffered > 256 * 1024:
            self.flush()

    def flush(self) -> None:
        """Hands everything that has become JSON to the kernel."""
        rests = any(stream.rest for stream in self.streams.values())
        self.flush_due = monotonic() + FLUSH_INTERVAL if rests or self.pending else None
        if not self.buffer:
            return
        data = "".join(self.buffer).encode("ascii")
        self.buffer.clear()
        self.buffered = 0
        if self.unwritten_bytes:
            lost = {"t": round(monotonic(), 6), "dropped_lines": 0, "dropped_bytes": self.unwritten_bytes}
            data = json.dumps({**lost, "why": self.problem}).encode() + b"\n" + data
        try:
            written = 0
            while written < len(data):
                written += os.write(self.file, data[written:])
        except OSError as error:
            # The target must not suffer from a full disk: forget this part, take back what is half written, go on.
            self.problem = f"output could not be written: {error.strerror}"
            self.unwritten_bytes += len(data)
            try:
                os.ftruncate(self.file, self.size)
                os.lseek(self.file, self.size, os.SEEK_SET)
            except OSError:
                pass
        else:
            self.size += len(data)
            self.unwritten_bytes = 0

    # -- the end ---------------------------------------------------------------------------------------------------

    def end_stream(self, name: str, now: float) -> None:
        """Nothing more comes from this pipe."""
        stream = self.streams[name]
        if stream.ended:
            return
        stream.ended = True
        if stream.rest:
            self._add(stream, Unit(name, now, stream.rest, False))
            stream.rest = b""

    def finish(self, now: float) -> None:
        """Writes all that is left: the pending part, the tails, and the end of each stream. Closes the file."""
        for name in self.streams:
            self.end_stream(name, now)
        while self.pending:
            self.work(until=monotonic() + 1.0)
        for stream in self.streams.values():
            self._say_dropped(stream, stream.tail[0].time if stream.tail else now)
        tails = [unit for stream in self.streams.values() for unit in stream.tail]
        for unit in sorted(tails, key=lambda unit: unit.time):
            self._write(unit.to_json(self.hidden))
        for name in self.streams:
            self._write(json.dumps({"t": round(now, 6), "end": name}) + "\n")
        self.flush()
        os.close(self.file)

    def recent(self, lines: int) -> list[str]:
        """The newest lines of all streams, the unfinished ones included, without secrets."""
        found: list[str] = []
        for data in [*(unit.data for unit in self.recent_units), *(s.rest for s in self.streams.values() if s.rest)]:
            text = self.hidden.replace(data).decode("utf-8", "surrogateescape")
            found.extend(text.removesuffix("\n").split("\n"))
        return found[-lines:]
