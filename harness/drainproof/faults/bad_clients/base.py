"""The declared request in bytes, from which malformed ones are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from drainproof.faults.bad_clients.cases import TOKEN
from drainproof.load.answer import with_token
from drainproof.load.plan import Request


@dataclass(frozen=True, kw_only=True)
class Base:
    """The declared request in bytes."""

    method: bytes
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """All but Content-Length."""
    body: bytes
    value: Any
    """The body's JSON value; None where it is no JSON object or array."""

    @classmethod
    def of(cls, request: Request, *, host: str, port: int) -> Base:
        """From the manifest's request."""
        body = with_token(request.body, TOKEN).encode()
        headers = {"host": f"{host}:{port}", "connection": "close"}
        headers |= {
            k.lower(): with_token(v, TOKEN) for k, v in request.headers.items() if k.lower() != "content-length"
        }
        return cls(
            method=request.method.encode(),
            path=with_token(request.path, TOKEN).encode("ascii", "ignore"),
            headers=tuple((k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in headers.items()),
            body=body,
            value=json_value(body),
        )

    def head(
        self, *lines: bytes, request_line: bytes | None = None, without: tuple[bytes, ...] = (), end: bytes = b"\r\n"
    ) -> bytes:
        """A head with further header lines, and without some of its own."""
        first = request_line if request_line is not None else b"%s %s HTTP/1.1" % (self.method, self.path)
        own = [b"%s: %s" % (name, value) for name, value in self.headers if name not in without]
        return b"\r\n".join((first, *own, *lines, b"")) + end

    def framed(self, body: bytes, *lines: bytes, without: tuple[bytes, ...] = ()) -> bytes:
        """A well-formed HTTP message around `body`."""
        return self.head(b"content-length: %d" % len(body), *lines, without=without) + body


def json_value(body: bytes) -> Any:
    """The JSON object or array that `body` is, by the RFC's grammar; None otherwise."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def is_json(body: bytes) -> bool:
    """Whether `body` is a JSON text of any type, by the RFC's grammar."""
    try:
        json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True
