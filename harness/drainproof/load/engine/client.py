"""What a stream asks for requests: a pool of connections, as an HTTP client library has, around the judging client."""

from __future__ import annotations

from drainproof.load.engine.book import Attempt, Book, Counter
from drainproof.load.engine.deadlines import Limits
from drainproof.load.engine.http import Connection
from drainproof.load.engine.route import Route
from drainproof.load.engine.template import Template


class Client:
    """Makes the requests of one stream.

    With `reuse` a connection goes back to the pool after an answer that allows it, and the one that came back last is
    taken first. A pooled connection that the target has closed is replaced before anything is sent on it. Without
    `reuse` each request has a connection of its own, which is closed after the answer. Where the route is closed, what
    would need a new connection is sent elsewhere.
    """

    def __init__(
        self,
        *,
        book: Book,
        counter: Counter,
        template: Template,
        address: tuple[str, int],
        limits: Limits,
        route: Route,
        reuse: bool,
    ) -> None:
        self._book = book
        self._counter = counter
        self._template = template
        self._address = address
        self._limits = limits
        self._route = route
        self._reuse = reuse
        self._pool: list[Connection] = []

    def request(self, due: float | None = None) -> Attempt:
        """Makes one attempt and writes it down. Returns when it is over, whatever became of it; never raises."""
        attempt = self._book.issue(self._counter, self._template, due)
        connection = self._take()
        if connection is None:
            self._book.send_elsewhere(attempt)
            return attempt
        connection.carry(attempt, self._template.render(attempt.token))
        if connection.reusable and self._reuse:
            self._pool.append(connection)
        else:
            connection.close()
        self._book.finish(attempt)
        return attempt

    def close(self) -> None:
        """Closes the pooled connections."""
        while self._pool:
            self._pool.pop().close()

    def _take(self) -> Connection | None:
        """A kept connection or a new one; None where a new one would go to another endpoint."""
        while self._pool:
            connection = self._pool.pop()
            if connection.is_alive():
                return connection
            connection.close()
        # Nothing waits between this question and the first packet of the connection.
        return Connection(address=self._address, limits=self._limits) if self._route.open else None
