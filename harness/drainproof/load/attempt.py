"""One attempt at one request from an ordinary process: for the readiness check and for requests that are faults.

The load is made by the engine in a process of its own; this is for the few requests outside of it.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from typing import Any

from drainproof.load.answer import what_is_wrong, with_token
from drainproof.load.plan import Request


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it. Times are CLOCK_MONOTONIC seconds."""

    t0: float
    t: float
    sent: bool
    """All bytes of the request were handed to the kernel over a connection that was accepted."""
    status: int | None
    wrong: str | None
    """Why the answer is not right, or that none came; None for the right answer."""

    @property
    def right(self) -> bool:
        """The complete and right answer came."""
        return self.wrong is None

    @property
    def text(self) -> str:
        """The outcome as a phrase."""
        return f"it was answered with {self.status}" if self.status is not None else f"no answer: {self.wrong}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"t0": self.t0, "t": self.t, "status": self.status, "right": self.right, "wrong": self.wrong}


def attempt(*, request: Request, host: str, port: int, token: str, timeout: float) -> Attempt:
    """Sends `request` once over a new connection and waits up to `timeout` seconds for each part of the answer."""
    t0 = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    sent, status = False, None
    try:
        headers = {key: with_token(value, token) for key, value in request.headers.items()}
        body = with_token(request.body, token).encode()
        path = with_token(request.path, token)
        connection.request(request.method, path, body=body or None, headers={**headers, "Connection": "close"})
        sent = True
        response = connection.getresponse()
        content = response.read()
        status = response.status
        wrong = what_is_wrong(request=request, token=token, status=status, body=content)
    except (OSError, http.client.HTTPException) as error:
        status, wrong = None, f"{type(error).__name__}: {error}".rstrip(": ")
    finally:
        connection.close()
    return Attempt(t0=t0, t=time.monotonic(), sent=sent, status=status, wrong=wrong)
