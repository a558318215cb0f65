"""What became of each request, relative to a fault: the client-side truth that the DRAIN rules judge.

Which requests had been accepted?
    A client cannot know whether a server has accepted its request: `connect` and `send` succeed against a kernel whose
    application never calls `accept`. So the experiment reads the kernel's socket table right before the fault. A
    request counts as accepted when it had been sent before that reading, and the reading showed the server's end of
    its connection as accepted (it has an inode) with nothing left unread: the application held all its bytes. Lost:
    "in flight for at least x ms" (a busy server reads late, and an innocent one is blamed) and asking the target (it
    would have to be instrumented).

Which losses can no server avoid?
    A connection that waits in the accept queue when the listener closes is reset by the kernel; a request that crosses
    the server's closing of an idle connection is lost in the wire. Both are counted apart (`backlog`, `crossing`).
    They are told from a request that was accepted and then dropped by what the kernel reported: the accept queue and
    unread bytes end in a *reset* at the moment of closing, whereas a server that had read a request and closes leaves
    an orderly *end of stream* after acknowledged bytes, and (seen for HTTP) no reset behind it. What lasts longer than
    `RACE` is no race, but a server that kept a client waiting and then dropped it. What this cannot tell: a server that
    closes a connection *because* a request comes on it, without reading it to its end, looks like one that happened to
    close just then. Such losses are counted in what DRAIN-2 says, and are no violation.
    In gRPC the library of the server, not the application, answers CANCELLED to a call that crosses its GOAWAY: that is
    such a race as well.

What is a refusal in gRPC?
    Nothing was promised where the call never left (unless its client was kept waiting for long), or where the server
    has said in HTTP/2 that it has not looked at it (GOAWAY with a smaller last stream, REFUSED_STREAM): `refused`. A
    status UNAVAILABLE that the server has sent is `unavailable`, as a 503 is. The same word from the client's own
    library says nothing; the wire decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from drainproof.load.ledger import RequestRecord
from drainproof.load.plan import Protocol
from drainproof.probes.history import Interval

Fate = Literal[
    "right",
    "unavailable",
    "wrong",
    "refused",
    "backlog",
    "crossing",
    "dropped",
    "cut",
    "hung",
    "unfinished",
    "elsewhere",
]
"""
`right`: the complete and right answer · `unavailable`: a complete 503, or UNAVAILABLE · `wrong`: a complete answer, but
not the right one · `refused`: no connection, or turned down unseen, so nothing was promised · `backlog`: still unread
when the listener closed, in the accept queue or just out of it · `crossing`: lost as it crossed the closing of its idle
connection · `dropped`: accepted, then closed without a byte of an answer · `cut`: closed in the middle of the answer ·
`hung`: no answer within the deadline, or for as long as was looked · `unfinished`: still young when the load ended;
says nothing · `elsewhere`: it went to another endpoint of the service, because the target was none any more.
"""

LOST: frozenset[Fate] = frozenset({"backlog", "crossing", "dropped", "cut", "hung"})

RACE = 0.25
"""Seconds that a request may at most have waited for its loss to count as a race (`backlog`, `crossing`)."""

CANCELLED, UNAVAILABLE = 1, 14
"""Status codes of gRPC."""

UNFINISHED = 2.0
"""Seconds after which a request that the end of the load interrupted counts as `hung` instead of `unfinished`, and a
gRPC call that could not leave as `dropped` instead of `refused`."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The moment that divides the requests: a fault, with what the kernel's socket table showed right before it."""

    table: float
    """When the reading of the socket table began."""
    t: float
    """When the fault was injected."""
    read: frozenset[int]
    """Client ports of the connections that the server had accepted and read empty."""
    accepted: frozenset[int] = frozenset()
    """Client ports of the connections that it had accepted, read or not."""
    grpc: Cut | None = None
    """The same for the gRPC port, where there was load on it."""

    def of(self, record: RequestRecord) -> Cut:
        """What goes for the protocol of a request."""
        return self.grpc if self.grpc is not None and record.protocol == "grpc" else self

    def shows_accepted(self, record: RequestRecord) -> bool:
        """Whether the server had accepted and read a request that was in flight (module docstring)."""
        mine = self.of(record)
        return record.sent is not None and record.sent <= mine.table and record.port in mine.read


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A request with what became of it."""

    record: RequestRecord
    fate: Fate
    duration: float
    """About how long the server works on such a request, as declared."""

    def __str__(self) -> str:
        r = self.record
        where = f"{r.cause} while {r.phase}" if r.cause else r.wrong or f"status {r.status}"
        return f"#{r.id} {r.request} ({r.stream}, {'reused' if r.reused else 'new'} connection): {self.fate}, {where}"


class RequestSet:
    """An immutable set of judged requests; every query gives a smaller one. Falsy when empty."""

    def __init__(self, judged: Iterable[Judged], cut: Cut | None = None) -> None:
        self._judged = tuple(judged)
        self._cut = cut

    def __iter__(self) -> Iterator[Judged]:
        return iter(self._judged)

    def __len__(self) -> int:
        return len(self._judged)

    def __repr__(self) -> str:
        fates = ", ".join(f"{n} {fate}" for fate, n in self.fates().items())
        return f"<{len(self)} requests{': ' + fates if fates else ''}>"

    def where(self, condition: Callable[[Judged], bool]) -> RequestSet:
        """Those that meet `condition`."""
        return RequestSet((j for j in self._judged if condition(j)), self._cut)

    def stream(self, *prefixes: str) -> RequestSet:
        """Those of the streams whose name begins with one of `prefixes`."""
        return self.where(lambda j: j.record.stream.startswith(prefixes))

    def protocol(self, protocol: Protocol) -> RequestSet:
        """Those that were sent in that protocol."""
        return self.where(lambda j: j.record.protocol == protocol)

    def fate(self, *fates: Fate) -> RequestSet:
        """Those with one of `fates`."""
        return self.where(lambda j: j.fate in fates)

    def not_answered(self) -> RequestSet:
        """Those without their complete and right answer, whatever the reason."""
        return self.where(lambda j: j.fate != "right")

    def fates(self) -> dict[Fate, int]:
        """How many met which fate, most frequent first."""
        return dict(Counter(j.fate for j in self._judged).most_common())

    def in_flight(self) -> RequestSet:
        """Those that had left before the fault and had not ended by then."""
        cut = self._need_cut()
        return self.where(lambda j: j.record.send_start is not None and j.record.send_start < cut.t < j.record.end)

    def accepted(self) -> RequestSet:
        """Those that the server had accepted and read before the fault, and not answered yet (module docstring)."""
        cut = self._need_cut()
        return self.in_flight().where(lambda j: cut.shows_accepted(j.record))

    def kept_waiting(self) -> RequestSet:
        """Those that waited unread on an accepted connection for longer than a race takes when the fault came."""
        cut = self._need_cut()
        return self.in_flight().where(
            lambda j: (
                j.record.sent is not None
                and j.record.sent < cut.of(j.record).table - RACE
                and j.record.port in cut.of(j.record).accepted - cut.of(j.record).read
            )
        )

    def arrived_after(self) -> RequestSet:
        """Those of which no byte left, and no connection was begun, before the fault."""
        cut = self._need_cut()
        return self.where(lambda j: begun(j.record) >= cut.t)

    def before(self) -> RequestSet:
        """Those that had ended before the fault."""
        cut = self._need_cut()
        return self.where(lambda j: j.record.end <= cut.t)

    def last_answer(self) -> float | None:
        """When the last complete answer ended."""
        return max((j.record.end for j in self._judged if j.record.answered), default=None)

    def lines(self, most: int = 5) -> list[str]:
        """The first few, one line each, and how many more there are."""
        shown = [str(j) for j in self._judged[:most]]
        return shown + ([f"… and {len(self) - most} more"] if len(self) > most else [])

    def _need_cut(self) -> Cut:
        if self._cut is None:
            raise ValueError("no fault was injected in this experiment, so there is no before and after")
        return self._cut


def begun(record: RequestRecord) -> float:
    """When the request began to leave the client (see `begun_at`)."""
    return begun_at(
        connect_start=record.connect_start, offered=record.offered, send_start=record.send_start, end=record.end
    )


def begun_at(*, connect_start: float | None, offered: float | None, send_start: float | None, end: float) -> float:
    """When a request began to leave the client: its connect, or on a reused connection its first byte.

    A gRPC call may wait for a connection that others have begun, and may never leave it: then it began when it was
    handed over.
    """
    if connect_start is not None:
        return max(connect_start, offered or 0.0)
    first = send_start if send_start is not None else offered
    return end if first is None else first


def judge_fate(record: RequestRecord, *, duration: float, closings: Iterable[Interval]) -> Fate:
    """What became of `record`. `closings`: when a listening socket was closed, or a process that held it ended."""
    if record.answered:
        return "right" if record.right else _not_right(record)
    if record.cause == "routed_elsewhere":
        return "elsewhere"
    if record.cause == "aborted":
        young = record.end - begun(record) < max(UNFINISHED, 2 * duration)
        return "unfinished" if young or record.phase == "connect" else "hung"
    if record.phase == "connect":
        return "hung" if record.cause == "connect_timeout" else "refused"
    if record.cause == "stream_refused" and record.first_byte is None:
        return "refused"
    if record.cause == "timeout":
        return "hung"
    if record.first_byte is not None:
        return "cut"
    if record.cause == "stream_reset":
        return "dropped"
    if record.protocol == "grpc" and record.send_start is None:  # the server has never said its first word
        return "refused" if record.end - begun(record) <= UNFINISHED else "dropped"
    if record.protocol == "grpc" and record.close_announced and record.end - _begun_to_send(record) <= RACE:
        return "crossing"
    if record.reused:
        return _lost_on_reused(record)
    return _lost_on_new(record, closings)


def _not_right(record: RequestRecord) -> Fate:
    if record.protocol == "http":
        return "unavailable" if record.status == 503 else "wrong"
    if record.torn:
        return "wrong"
    if record.status == UNAVAILABLE:
        return "unavailable"
    crossed = record.status == CANCELLED and record.close_announced and not record.messages
    return "crossing" if crossed and record.end - _begun_to_send(record) <= RACE else "wrong"


def _begun_to_send(record: RequestRecord) -> float:
    return record.send_start if record.send_start is not None else record.end


def _lost_on_reused(record: RequestRecord) -> Fate:
    if record.acknowledged is False:
        return "crossing"
    waited = record.end - begun(record)
    return "crossing" if record.cause == "reset" and waited <= RACE else "dropped"


def _lost_on_new(record: RequestRecord, closings: Iterable[Interval]) -> Fate:
    since = begun(record)
    waited = record.end - since
    in_closing = any(since <= c.latest and record.end >= c.earliest for c in closings)
    unread = record.cause == "reset" or record.acknowledged is False
    return "backlog" if unread and waited <= RACE and in_closing else "dropped"
