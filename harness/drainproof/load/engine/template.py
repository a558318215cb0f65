"""A request of the plan, made ready to be sent many times: only the token is filled in for each one."""

from __future__ import annotations

import json
import secrets
import string
from urllib.parse import quote

from drainproof.load.answer import what_is_wrong, with_token
from drainproof.load.messages import filled
from drainproof.load.plan import Request

TOKEN = b"{token}"

MAX_KEPT = 1 << 20
"""Bytes of an answer's body that are kept to be checked; what lies beyond is read, counted and dropped."""


class Template:
    """How one kind of request looks on the wire, and how its answer is judged.

    `render` is called once for each request. It joins ready-made pieces with the token, which takes less than a
    microsecond; the Content-Length is known beforehand, because all tokens of a run have the same length.
    """

    def __init__(self, *, request: Request, host: str, port: int, token_length: int) -> None:
        body = request.body.encode()
        self.request = request
        self.protocol = request.protocol
        self.name = request.name
        self.json_name = json.dumps(request.name)
        self.method = request.method
        self.is_head = request.method == "HEAD"
        self.keeps_body = request.expect.contains is not None or request.expect.json is not None
        self.body_size = len(body) + body.count(TOKEN) * (token_length - len(TOKEN))
        self._pieces = (_head(request, f"{host}:{port}", self.body_size) + body).split(TOKEN)
        self.path = quote(request.path, safe=string.punctuation).replace(TOKEN.decode(), "")

    def render(self, token: str, cookies: str = "") -> bytes:
        """The whole request, the last `body_size` bytes of it being its body. `cookies`: a `Cookie` header's value."""
        data = token.encode().join(self._pieces)
        if not cookies:
            return data
        line, end, rest = data.partition(b"\r\n")
        return line + end + b"Cookie: " + cookies.encode("latin-1") + end + rest

    def what_is_wrong(self, *, token: str, status: int, body: bytes, received: int) -> str | None:
        """Why a complete answer is not the right one; None if it is. `received`: how long its body was."""
        try:
            wrong = what_is_wrong(request=self.request, token=token, status=status, body=body)
        except RecursionError:
            wrong = "the body is JSON that is nested too deeply to be read"
        if wrong is not None and received > len(body) and self.keeps_body:
            wrong += f" (only the first {len(body)} of its {received} bytes were looked at)"
        return wrong


class RpcTemplate:
    """The same for a gRPC request: its message and its metadata."""

    def __init__(self, *, request: Request, token_length: int) -> None:
        self.request = request
        self.protocol = request.protocol
        self.name = request.name
        self.json_name = json.dumps(request.name)
        self.method = request.method
        self.keeps_body = request.expect.contains is not None
        mark = secrets.token_hex(token_length)[:token_length].encode()
        self._pieces = filled(request.message, mark).split(mark)

    def render(self, token: str) -> bytes:
        """The message."""
        return token.encode().join(self._pieces)

    def metadata(self, token: str) -> list[tuple[str, str]]:
        """The metadata of the call."""
        return [(name.lower(), with_token(value, token)) for name, value in self.request.headers.items()]


AnyTemplate = Template | RpcTemplate


def _head(request: Request, host: str, body_size: int) -> bytes:
    path = quote(request.path, safe=string.punctuation)
    headers = {"Host": host, "User-Agent": "drainproof", "Accept": "*/*", "Accept-Encoding": "identity"}
    given = {name.lower() for name in request.headers}
    headers = {name: value for name, value in headers.items() if name.lower() not in given} | request.headers
    framed = bool(given & {"content-length", "transfer-encoding"})  # a manifest may want to frame its body by itself
    if not framed and (body_size or request.method in {"POST", "PUT", "PATCH"}):
        headers["Content-Length"] = str(body_size)
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
