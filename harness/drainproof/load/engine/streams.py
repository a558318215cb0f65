"""The streams of a plan as Locust users: each decides when a request is issued, `client.Client` does the rest.

Each stream is one Locust user, which starts a family of greenlets; so Locust's life cycle, its statistics and its
distributed mode apply, while its per-user task loop (which is closed, and costs a scheduling round for each request)
stays out of the way. Locust stops users by killing them, by default without waiting (`stop_timeout` is 0) and without
an event for what they were doing: a killed request would be in nobody's books. So the run stops the families itself,
and asks Locust to stop only when nothing is left to kill.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, ClassVar, Protocol

import gevent
from gevent.event import Event
from gevent.pool import Group
from locust import User, task
from locust.exception import StopUser

from drainproof.load.engine.book import Attempt, Book
from drainproof.load.engine.client import Client
from drainproof.load.engine.deadlines import Limits
from drainproof.load.engine.route import Route
from drainproof.load.engine.template import AnyTemplate, RpcTemplate, Template
from drainproof.load.plan import PATIENCE, WARM, Closed, Hold, Idle, Once, Plan, Request, Steady, Stream

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.4
"""Seconds that a closed loop pauses after an attempt without a right answer: the first one, doubled for each further
one up to the longest. A dead server answers at once, by refusing; without the pause the loops would do nothing but
connect, and the ledger of a drain of ten seconds would have a million records that all say the same."""


class AnyClient(Protocol):
    """What a stream asks for requests."""

    def request(self, due: float | None = None) -> Attempt:
        """Makes one attempt and writes it down. Returns when it is over, whatever became of it; never raises."""

    def close(self) -> None:
        """Closes the kept connections."""


def rpc() -> Any:
    """The gRPC client's module. It is imported by the runs that need it: see its docstring."""
    from drainproof.load.engine import rpc  # noqa: PLC0415

    return rpc


class Load:
    """What the streams of one run share."""

    def __init__(self, *, plan: Plan, book: Book, host: str) -> None:
        """`host`: the plan's, as an IPv4 address."""
        self.plan = plan
        self.book = book
        self._host = host
        self.limits = Limits(connect=plan.connect_timeout, whole=plan.deadline)
        self.unlimited = Limits(connect=plan.connect_timeout, whole=None)
        self.route = Route()
        self.templates = {r.name: self._template(r) for r in plan.requests}
        self.start = monotonic() if plan.start_at is None else plan.start_at
        self.stopping = Event()
        self.stopped_at = float("inf")
        self.ordinary = Group()
        """Greenlets that end by themselves after the stop, once their requests are over."""
        self.lasting = Group()
        """Greenlets whose requests may never end."""
        self.at_end: list[Callable[[], None]] = []
        """What closes the connections that are left when no request is."""

    def client(self, stream: Steady | Hold | Closed | Once) -> AnyClient:
        """The client of a stream, with its own pool."""
        template = self.templates[stream.request]
        address, counter = self.address(template), self.book.counters[stream.name]
        client: AnyClient
        if isinstance(template, RpcTemplate):
            client = rpc().RpcClient(
                book=self.book,
                counter=counter,
                template=template,
                address=address,
                limits=self.limits,
                route=self.route,
                connections=stream.connections,
            )
        else:
            client = Client(
                book=self.book,
                counter=counter,
                template=template,
                address=address,
                limits=self.limits,
                route=self.route,
                reuse=stream.connections == "reuse",
            )
        self.at_end.append(client.close)
        return client

    def address(self, template: AnyTemplate | None) -> tuple[str, int]:
        """Where a request goes; None: a connection without one."""
        return self._host, self.plan.port if template is None else self.plan.number_of(template.request)

    def _template(self, request: Request) -> AnyTemplate:
        length = self.book.token_length
        if request.protocol == "grpc":
            return RpcTemplate(request=request, token_length=length)
        return Template(request=request, host=self.plan.host, port=self.plan.number_of(request), token_length=length)

    def is_under_way(self, stream: Stream) -> bool:
        """Whether a stream does what it was asked to do, as far as that can be seen from here."""
        counter = self.book.counters[stream.name]
        match stream:
            case Steady() | Closed():
                return counter.right >= WARM
            case Hold():
                return counter.in_flight >= stream.in_flight
            case Idle():
                return len(counter.open) >= stream.count
            case _:
                return counter.in_flight >= stream.count

    def is_endless(self, stream: Once) -> bool:
        """Whether its requests never end by themselves."""
        return next(r.duration for r in self.plan.requests if r.name == stream.request) == float("inf")

    def sleep_until(self, moment: float) -> bool:
        """Sleeps; False if the load was stopped before."""
        left = moment - monotonic()
        return not self.stopping.wait(left) if left > 0 else not self.stopping.is_set()

    def stop(self) -> None:
        """From this moment on no new request is due."""
        self.stopped_at = monotonic()
        self.stopping.set()

    def abort(self) -> None:
        """Ends every request in flight. For the event loop's callbacks."""
        waiting = [*self.limits.connect.waiting(), *self.unlimited.connect.waiting(), *self.book.in_flight.values()]
        for attempt in waiting:
            if attempt.connection is not None:
                attempt.connection.fail("aborted")

    def close(self) -> None:
        """Closes what is still open, after the last request."""
        for close in self.at_end:
            close()


class StreamUser(User):
    """A stream as a Locust user; `user_class` makes the subclass for one stream of one run."""

    abstract = True
    load: ClassVar[Load]
    stream: ClassVar[Any]

    @task
    def live(self) -> None:
        """The user's only task: starts the family, and is there until the load is stopped."""
        try:
            self.play()
            self.load.stopping.wait()
        except Exception as error:
            # Locust would log it and call the task again, with a second family beside the first one.
            gevent.get_hub().handle_error(self, type(error), error, error.__traceback__)
        raise StopUser

    def play(self) -> None:
        """Starts the family's greenlets."""
        raise NotImplementedError


class SteadyUser(StreamUser):
    """Open loop. Request k is due at start + k / rate, whatever became of the others."""

    abstract = True
    stream: ClassVar[Steady]

    def play(self) -> None:
        """One greenlet is the schedule; it starts one for each arrival."""
        self.load.ordinary.spawn(self._keep_schedule, self.load.client(self.stream))

    def _keep_schedule(self, client: AnyClient) -> None:
        load, number = self.load, 0
        while True:
            # What is due is issued, late or not: to skip it would hide the stall that made it late. That holds for what
            # was due just before the stop, too.
            until = min(monotonic(), load.stopped_at)
            while (due := load.start + number / self.stream.rate) <= until:
                load.ordinary.spawn(client.request, due)
                number += 1
            if not load.sleep_until(due) and due > load.stopped_at:
                return


class HoldUser(StreamUser):
    """Keeps N requests in flight: N loops, each of which issues the next request when the last one is over."""

    abstract = True
    stream: ClassVar[Hold]

    def play(self) -> None:
        """The loops begin evenly spread over `stagger` seconds."""
        client, count = self.load.client(self.stream), self.stream.in_flight
        for number in range(count):
            self.load.ordinary.spawn(
                _loop, self.load, client, begin=self.load.start + self.stream.stagger * number / count, pause=0.0
            )


class ClosedUser(StreamUser):
    """N users that wait for their answer, think, and ask again."""

    abstract = True
    stream: ClassVar[Closed]

    def play(self) -> None:
        """All of them begin at once."""
        client = self.load.client(self.stream)
        for _ in range(self.stream.users):
            self.load.ordinary.spawn(_loop, self.load, client, begin=self.load.start, pause=self.stream.think_time)


def _loop(load: Load, client: AnyClient, *, begin: float, pause: float) -> None:
    """A closed loop: the next request is issued `pause` seconds after the end of the last one."""
    penalty = 0.0
    going = load.sleep_until(begin)
    while going:
        attempt = client.request()
        penalty = 0.0 if attempt.right else min(max(2 * penalty, FIRST_PAUSE), LONGEST_PAUSE)
        going = load.sleep_until(monotonic() + max(pause, penalty))


class OnceUser(StreamUser):
    """Sends N requests at once, and never again."""

    abstract = True
    stream: ClassVar[Once]

    def play(self) -> None:
        """One greenlet for each request."""
        client = self.load.client(self.stream)
        for _ in range(self.stream.count):
            self.load.ordinary.spawn(self._one, client)

    def _one(self, client: AnyClient) -> None:
        going, until = self.load.sleep_until(self.load.start), self.load.start + PATIENCE
        while going and monotonic() < until and not self._others_are_under_way():
            going = self.load.sleep_until(monotonic() + 0.01)
        if going:
            client.request()

    def _others_are_under_way(self) -> bool:
        if self.load.is_endless(self.stream):
            return True
        others = (s for s in self.load.plan.streams if not isinstance(s, Once) or self.load.is_endless(s))
        return all(self.load.is_under_way(other) for other in others)


def user_class(*, stream: Stream, load: Load, users: dict[str, type[StreamUser]]) -> type[StreamUser]:
    """The Locust user of one stream. Locust wants a class of its own, with a name of its own, for each."""
    number = list(load.plan.streams).index(stream)
    return type(
        f"Stream{number}_{stream.kind}",
        (users[stream.kind],),
        {"load": load, "stream": stream, "fixed_count": 1, "abstract": False},
    )
