"""One answer as it arrives: how far it is, whether it is complete, and whether its connection may be kept."""

from __future__ import annotations

from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from drainproof.load.engine.book import Attempt
from drainproof.load.engine.template import MAX_KEPT
from drainproof.load.plan import ANSWERED_BY

_ANSWERED_BY = ANSWERED_BY.encode()


class Answer:
    """Feeds the parser of one connection, and writes what it finds into the current attempt.

    The parser (llhttp, through httptools) calls the `on_…` methods. It is kept from one answer to the next, because it
    is the only one to know where an answer ends and whether there is something behind it.
    """

    __slots__ = (
        "_attempt",
        "_body",
        "_body_size",
        "_close_delimited",
        "_connection_header",
        "_now",
        "_parser",
        "complete",
        "keep",
    )

    def __init__(self) -> None:
        self._parser: Any = None
        self._attempt: Attempt | None = None
        self._now = 0.0
        self._body: list[bytes] = []
        self._body_size = 0
        self._close_delimited = False
        self._connection_header = b""
        self.complete = False
        self.keep = False
        """The connection may carry another request. To be read when the answer is complete."""

    def begin(self, attempt: Attempt) -> None:
        """What arrives from now on is the answer to `attempt`."""
        self._attempt = attempt
        self.complete = self.keep = False
        self._body_size = 0

    def feed(self, data: memoryview, now: float) -> str | None:
        """Takes what arrived at the moment `now`. Returns what is wrong with it, if it is not HTTP."""
        attempt = self._attempt
        assert attempt is not None
        self._now = now
        if self._parser is None:
            self._parser = HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if self.complete:
                self._on_excess(attempt)
                return None
            if attempt.first_byte is None:
                attempt.first_byte, attempt.phase = now, "head"
            return f"{type(error).__name__}: {error}"
        return None

    def ends_here(self) -> bool:
        """Whether the end of the connection is the proper end of this answer."""
        attempt = self._attempt
        assert attempt is not None
        if attempt.phase != "body" or not self._close_delimited:
            return False
        self.complete = True
        attempt.close_announced = True  # by the framing: it could not end in another way
        return True

    def judge(self) -> None:
        """Says in the attempt what is wrong with its complete answer."""
        attempt = self._attempt
        assert attempt is not None and attempt.status is not None
        attempt.wrong = attempt.template.what_is_wrong(
            token=attempt.token, status=attempt.status, body=b"".join(self._body), received=self._body_size
        )

    def settle(self) -> None:
        """Lets go of the attempt."""
        self._attempt = None
        if self._body:
            self._body = []

    def close(self) -> None:
        """Lets go of the parser, which refers to this object."""
        self._parser = None

    # --- Called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer, or of what comes behind it."""
        attempt = self._attempt
        assert attempt is not None
        if self.complete:
            self._on_excess(attempt)
            return
        attempt.first_byte = self._now
        attempt.phase = "head"
        self._close_delimited = True
        self._connection_header = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keeps what the parser does not tell: whether the end is framed, and for HEAD, whether it will be closed.

        And the cookies of a session, and what a load balancer of ours says.
        """
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            self._close_delimited = False
        elif name == b"connection":
            self._connection_header = value.lower()
        elif name == _ANSWERED_BY and self._attempt is not None:
            self._attempt.answered_by = value.decode("latin-1")
        elif name == b"set-cookie" and self._attempt is not None and self._attempt.cookies is not None:
            self._attempt.cookies.append(value)

    def on_headers_complete(self) -> None:
        """From here on it is the body, unless this was an interim answer (1xx)."""
        attempt, parser = self._attempt, self._parser
        assert attempt is not None
        if self.complete or (status := parser.get_status_code()) < 200:
            return
        attempt.status = status
        attempt.phase = "body"
        if attempt.template.is_head:
            # The parser cannot know that no body follows, so this answer is its last: the next one gets a new parser.
            announced, old = self._connection_header, parser.get_http_version() == "1.0"
            self._parser = None
            self._on_complete(attempt, keep=b"keep-alive" in announced if old else b"close" not in announced)

    def on_body(self, data: bytes) -> None:
        """A piece of the body; kept as far as it is needed to judge the answer."""
        attempt = self._attempt
        assert attempt is not None
        if self.complete:
            return
        if attempt.template.keeps_body and self._body_size < MAX_KEPT:
            self._body.append(data[: MAX_KEPT - self._body_size])
        self._body_size += len(data)

    def on_message_complete(self) -> None:
        """The answer's end. `should_keep_alive` speaks of this message only here: the next one resets it."""
        attempt = self._attempt
        assert attempt is not None
        if self.complete:
            return
        if attempt.phase == "head":  # an interim answer: the real one is still to come
            attempt.phase = "waiting" if attempt.sent is not None else "send"
            attempt.first_byte = None
            return
        self._on_complete(attempt, keep=self._parser.should_keep_alive())

    def _on_complete(self, attempt: Attempt, *, keep: bool) -> None:
        self.complete = True
        self.keep = keep
        attempt.close_announced = not keep

    def _on_excess(self, attempt: Attempt) -> None:
        """The answer was complete and is judged; the bytes behind it, unasked for, make its connection useless."""
        attempt.error = "data after the end of the answer"
        self.keep = False
