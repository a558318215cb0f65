"""The cookies of one session, kept and sent back as a browser does it (the standard library's rules)."""

from __future__ import annotations

from email.message import Message
from http.cookiejar import CookieJar
from typing import Any, cast
from urllib.request import Request


class Cookies:
    """A jar for one client of one server."""

    def __init__(self, *, host: str, port: int) -> None:
        self._origin = f"http://{host}:{port}"
        self._jar = CookieJar()

    def header(self, path: str) -> str:
        """What the `Cookie` header of a request for `path` says; empty where there is nothing to say."""
        request = Request(self._origin + path)
        self._jar.add_cookie_header(request)
        return request.get_header("Cookie", "") or ""

    def take(self, path: str, set_cookies: list[bytes]) -> None:
        """Takes the values of the `Set-Cookie` headers of the answer to a request for `path`."""
        head = Message()
        for value in set_cookies:
            head["Set-Cookie"] = value.decode("latin-1")
        self._jar.extract_cookies(cast(Any, _Answer(head)), Request(self._origin + path))


class _Answer:
    """As much of an answer as the jar looks at."""

    def __init__(self, head: Message) -> None:
        self._head = head

    def info(self) -> Message:
        return self._head
