"""What load to put on a target: pure data, the same in the experiment, in the engine's process and in the evidence.

A `Plan` is a set of streams that run side by side. Times are seconds; moments are CLOCK_MONOTONIC, which is one clock
for all processes of a host.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from drainproof.errors import UserError

Protocol = Literal["http", "grpc"]

Connections = Literal["new", "reuse", "shared"]
"""`new`: one connection per request. `reuse`: kept connections from a pool, one request at a time on each, as an HTTP
client library has. `shared`: all requests of the stream side by side on one connection, as gRPC client libraries do it
(only for gRPC)."""


@dataclass(frozen=True, kw_only=True)
class Steady:
    """Open loop: requests leave at `rate` per second whatever becomes of the earlier ones (the default of all load)."""

    kind: ClassVar[str] = "steady"
    name: str
    request: str
    rate: float
    connections: Connections = "reuse"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """Keeps `in_flight` requests in flight: each answer is followed at once by the next request.

    The first ones start staggered over `stagger` seconds, so that they do not all end in the same moment.
    """

    kind: ClassVar[str] = "hold"
    name: str
    request: str
    in_flight: int
    stagger: float = 0.0
    connections: Connections = "reuse"


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Closed loop: `users` users, each waits for its answer, thinks for `think_time` seconds, and asks again."""

    kind: ClassVar[str] = "closed"
    name: str
    request: str
    users: int
    think_time: float = 0.0
    connections: Connections = "reuse"


WARM = 5
"""Right answers that a stream must have got before it counts as steady."""

WORTH_HOLDING = 0.5
"""Seconds that a request should take for it to be held in flight."""

PATIENCE = 15.0
"""Seconds that requests which are sent once wait for the other streams."""


@dataclass(frozen=True, kw_only=True)
class Once:
    """Sends `count` requests at once, each on a connection of its own, and never again.

    As soon as the other streams are under way, or after `PATIENCE`: on a busy machine they need long, and what was sent
    before them would be answered when they are. Requests that never end are sent first.
    """

    kind: ClassVar[str] = "once"
    name: str
    request: str
    count: int
    connections: Connections = "new"


@dataclass(frozen=True, kw_only=True)
class Idle:
    """Opens `count` connections that stay open and idle: after one request each, or (`request=None`) without a byte."""

    kind: ClassVar[str] = "idle"
    name: str
    request: str | None
    count: int


@dataclass(frozen=True, kw_only=True)
class SlowWriter:
    """`count` clients whose request body trickles in: the head, half of the body, then a byte each `interval` seconds.

    The last byte is never sent, so the request never becomes complete.
    """

    kind: ClassVar[str] = "slow_writer"
    name: str
    request: str
    count: int
    interval: float = 0.5


@dataclass(frozen=True, kw_only=True)
class SlowReader:
    """`count` clients that send a request and never read the answer; their receive window is as small as can be."""

    kind: ClassVar[str] = "slow_reader"
    name: str
    request: str
    count: int


Stream = Steady | Hold | Closed | Once | Idle | SlowWriter | SlowReader
STREAM_KINDS: dict[str, type[Stream]] = {
    cls.kind: cls for cls in (Steady, Hold, Closed, Once, Idle, SlowWriter, SlowReader)
}


_LEAST = {"in_flight": 1, "users": 1, "count": 1, "rate": 1e-6, "interval": 1e-3, "stagger": 0, "think_time": 0}
"""The smallest value that a stream's field may have, by its name."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """The answer that counts as right. `{token}` in it stands for the request's own token."""

    status: tuple[int, ...] = (200,)
    """HTTP statuses, or the numbers of gRPC status codes (0: OK)."""
    contains: str | None = None
    """In the body; of a gRPC stream, in each of its messages."""
    json: Any = None
    """A JSON value that the answer must contain: objects by subset, everything else by equality."""
    messages: int | None = None
    """How many messages a gRPC stream has; `None`: any number."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One kind of request. `{token}` in path, header values and body is replaced by a token unique to each request."""

    name: str
    method: str
    """The HTTP method; "gRPC" where that is the protocol."""
    path: str
    """Path and query; of a gRPC request the full name of its method, "/package.Service/Method"."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers, or the metadata of a gRPC request."""
    body: str = ""
    """The body as text; of a gRPC request its message, as base64."""
    expect: Expectation = field(default_factory=Expectation)
    duration: float = 0.0
    """About how long the server works on it, in seconds; infinity for one that never ends."""
    safe_to_repeat: bool = True
    protocol: Protocol = "http"
    port: str = "http"
    """The name of the port that it goes to."""
    stream: bool = False
    """The answer is a stream: it comes in pieces over its whole duration."""

    @property
    def message(self) -> bytes:
        """The message of a gRPC request, still with `{token}` in it."""
        return b64decode(self.body)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All load of one experiment."""

    host: str
    port: int
    """The HTTP port."""
    requests: tuple[Request, ...]
    streams: tuple[Stream, ...]
    connect_timeout: float = 5.0
    deadline: float = 30.0
    """Seconds after which a client gives a request up (cause `timeout`)."""
    start_at: float | None = None
    """When the first arrival is due (CLOCK_MONOTONIC); `None`: at once."""
    ports: dict[str, int] = field(default_factory=dict)
    """The numbers of the other ports, by name."""

    def number_of(self, request: Request) -> int:
        """The port that a request goes to."""
        return self.ports.get(request.port, self.port)

    def __post_init__(self) -> None:
        """Raises UserError for a plan that cannot be played."""
        known = {r.name: r for r in self.requests}
        names: set[str] = set()
        for stream in self.streams:
            if stream.name in names:
                raise UserError(f"two streams are named {stream.name!r}: give each a name of its own")
            names.add(stream.name)
            if stream.request is not None and stream.request not in known:
                raise UserError(
                    f"stream {stream.name!r} sends the request {stream.request!r}, which is not one of the plan's: "
                    f"{', '.join(map(repr, known))}"
                )
            self._check_protocol(stream, known)
            for name, least in _LEAST.items():
                value = getattr(stream, name, least)
                if not value >= least:
                    raise UserError(f"stream {stream.name!r}: {name} must be at least {least}, not {value}")

    def _check_protocol(self, stream: Stream, known: dict[str, Request]) -> None:
        protocol = "http" if stream.request is None else known[stream.request].protocol
        if protocol == "grpc" and known[str(stream.request)].port not in (*self.ports, "http"):
            raise UserError(f"stream {stream.name!r}: the plan has no port named {known[str(stream.request)].port!r}")
        if protocol == "grpc" and isinstance(stream, SlowWriter | SlowReader):
            raise UserError(f"stream {stream.name!r}: slow clients speak HTTP, {stream.request!r} is a gRPC request")
        if protocol == "http" and getattr(stream, "connections", None) == "shared":
            raise UserError(f"stream {stream.name!r}: only gRPC requests can share a connection")

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values; the inverse of `from_json`."""
        return {**asdict(self), "streams": [{"kind": s.kind, **asdict(s)} for s in self.streams]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Plan:
        """Reads what `to_json` wrote."""
        streams = tuple(
            STREAM_KINDS[s["kind"]](**{k: v for k, v in s.items() if k != "kind"}) for s in value["streams"]
        )
        requests = tuple(
            Request(**{**r, "expect": Expectation(**{**r["expect"], "status": tuple(r["expect"]["status"])})})
            for r in value["requests"]
        )
        return cls(**{**value, "streams": streams, "requests": requests})
