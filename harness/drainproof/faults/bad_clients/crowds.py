"""Clients that come in small crowds and vanish.

How do they vanish?
    At six stages (connected, within the head, before the body, within the body, before the answer, within the answer),
    and in two ways: with a FIN (a time-out, a program that ended) and with a RST (`SO_LINGER` 0: what a server sees of
    a client that crashed, or of a proxy that gave up).

Why in small crowds?
    A flood would overflow the accept queue of an innocent server and cost other clients their connections. Accept
    queues are first in, first out, so whoever has got the beginning of an answer knows that all who came before have
    been accepted. The next crowd comes when somebody at the end of this one got so far. That also paces servers that
    work on one connection at a time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from itertools import count
from typing import Literal

from drainproof.faults.bench import Bench
from drainproof.load.answer import with_token
from drainproof.load.attempt import attempt
from drainproof.load.plan import Request

Stage = Literal["connected", "in-head", "before-body", "in-body", "before-answer", "in-answer"]
STAGES: tuple[Stage, ...] = ("connected", "in-head", "before-body", "in-body", "before-answer", "in-answer")

CROWD = 24
"""Clients at a time: each stage twice in each way."""

WORK = 2.0
"""Seconds of work that one round may cause; beyond that clients vanish within the body instead of after it."""

LONG = 0.5
"""Seconds beyond which a request is too long to wait for the beginning of its answer."""

RARE = 5
"""Every so many crowds one client leaves in the middle of the largest answer, which costs the server a lot."""

PATIENCE = 30.0
"""Seconds that somebody who behaves waits for an answer."""

ENOUGH = 3
"""So many of them must get no right answer for the rest to be left out."""


class Crowds:
    """Opens, feeds and abandons clients, and counts them."""

    def __init__(self, *, bench: Bench, request: Request) -> None:
        self.bench = bench
        self.request = request
        self.vanished = 0
        self.by_stage: dict[str, int] = dict.fromkeys(STAGES, 0)
        self.waited_behind: dict[str, int] = {"right": 0, "wrong": 0}
        """What became of those who behave and came behind a crowd."""
        self.stopped = ""
        """Why no further clients were sent."""
        self._numbers = count()
        self._crowds = count()
        self._large: Request | None = None

    def vanish(self, clients: int, *, until: float) -> None:
        """So many clients come and go; fewer where the moment `until` passes or nobody can connect any more."""
        self._largest()  # not later: a server that works on one connection at a time is busy with a crowd
        work = WORK * self.bench.workers
        end = self.vanished + clients
        while self.vanished < end and not self.stopped:
            if time.monotonic() > until:
                self.stopped = "then the time for it was over"
                return
            working = work > 0
            work -= self._crowd(min(CROWD, end - self.vanished), working=working)
            self._wait_behind()

    def _crowd(self, clients: int, *, working: bool) -> float:
        """One crowd. Returns about how many seconds of work it caused."""
        rare = working and next(self._crowds) % RARE == 0
        present: list[tuple[socket.socket, Stage, bool]] = []
        try:
            for i in range(clients):
                stage = STAGES[i % len(STAGES)]
                if stage in ("before-answer", "in-answer") and not working:
                    stage = "in-body"
                large = rare and stage == "in-answer" and i >= clients - len(STAGES)
                request = self._largest() if large else self.request
                present.append((self._come(stage, request), stage, i // len(STAGES) % 2 == 1))
        except OSError as error:
            self.stopped = f"then a client could not connect: {error.strerror or error}"
        # Who waits for an answer waits behind the others, who must be gone by then: a server that works on one
        # connection at a time waits for them.
        for stays in (False, True):
            for client, stage, abruptly in present:
                if stays == (stage == "in-answer"):
                    if stays:
                        _await_first_byte(client, within=5.0 + self.request.duration)
                    _go(client, abruptly=abruptly)
                    self.by_stage[stage] += 1
        self.vanished += len(present)
        return sum(stage in ("before-answer", "in-answer") for _, stage, _ in present) * self.request.duration

    def _come(self, stage: Stage, request: Request) -> socket.socket:
        """Connects and sends as much as belongs to the stage."""
        host, port = self.bench.running.host, self.bench.port
        head, body = _bytes(request, token=f"vanishing-{next(self._numbers)}", host=host, port=port)
        sent = {
            "connected": b"",
            "in-head": head[: len(head) // 2],
            "before-body": head,
            "in-body": head + body[: len(body) // 2],
        }.get(stage, head + body)
        client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that a large answer stays on its way
            client.settimeout(10.0)
            client.connect((host, port))
            with contextlib.suppress(ConnectionError, TimeoutError):  # it need not want to hear us out
                client.sendall(sent)
        except OSError:
            client.close()
            raise
        return client

    def _largest(self) -> Request:
        """The quick request with the largest answer, found out by asking each of them once."""
        if self._large is None:
            quick = [
                r for r in self.bench.target.requests if r.duration <= LONG and getattr(r, "protocol", "http") == "http"
            ]
            self._large = max(quick, key=self._answer_size, default=self.request)
        return self._large

    def _answer_size(self, request: Request) -> int:
        """Bytes of the answer's Content-Length, or what came of it at once."""
        host, port = self.bench.running.host, self.bench.port
        head, body = _bytes(request, token=f"size-{next(self._numbers)}", host=host, port=port)
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=10.0) as client:
            client.sendall(head + body)
            answer = client.recv(4096).lower()
            _, found, rest = answer.partition(b"\r\ncontent-length:")
            return int(rest.partition(b"\r\n")[0].strip() or 0) if found else len(answer)
        return 0

    def _wait_behind(self) -> None:
        """Stands in the queue behind the crowd as somebody who behaves, and waits for the answer."""
        request = self.bench.target.fast()
        outcome = attempt(
            request=request,
            host=self.bench.running.host,
            port=self.bench.port,
            token=f"behind-{next(self._numbers)}",
            timeout=PATIENCE + request.duration,
        )
        self.waited_behind["right" if outcome.right else "wrong"] += 1
        if not outcome.right:
            self.bench.record("behind_the_crowd", **outcome.to_json())
            if self.waited_behind["wrong"] >= ENOUGH:
                self.stopped = "then those who came behind them got no right answer any more"


def _bytes(request: Request, *, token: str, host: str, port: int) -> tuple[bytes, bytes]:
    """Head and body of a request."""
    body = with_token(request.body, token).encode()
    headers = {"host": f"{host}:{port}", **{k.lower(): with_token(v, token) for k, v in request.headers.items()}}
    headers["content-length"] = str(len(body))
    lines = [f"{request.method} {with_token(request.path, token)} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join((*lines, "", "")).encode(), body


def _await_first_byte(client: socket.socket, *, within: float) -> None:
    """Waits until the answer has begun, or the server has closed, and takes one byte of it."""
    with contextlib.suppress(OSError):
        if select.select([client], [], [], within)[0]:
            client.recv(1)


def _go(client: socket.socket, *, abruptly: bool) -> None:
    """Closes with a RST, or with a FIN (the kernel makes a RST of that where an answer was left unread)."""
    with contextlib.suppress(OSError):
        if abruptly:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
