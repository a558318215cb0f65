"""The ASGI application: health, predictions, and two requests that bring the server into trouble on purpose."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from model_server.model import Model

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = 65536
"""Bytes of an answer that are handed over at a time, so that a client that does not read is felt at once."""


def no_json(constant: str) -> None:
    """Refuses NaN and Infinity, which Python reads and JSON does not have: the latter would be a time to wait."""
    raise ValueError(f"{constant} is not JSON")


log = logging.getLogger("model_server")


class ClientGoneError(Exception):
    """The client closed its connection before the request was complete."""


class Exchange:
    """One request and its answer."""

    def __init__(self, *, application: Application, scope: Message, receive: Receive, send: Send) -> None:
        self.application = application
        self.scope = scope
        self.receive = receive
        self.send = send
        self.task: asyncio.Task[None] | None = asyncio.current_task()
        self.answering = False
        self.streaming = False
        self.cut = False

    def cancel(self) -> None:
        """Ends it; see `Application.give_up`."""
        self.cut = True
        if self.task is not None:
            self.task.cancel()

    async def body(self) -> bytes:
        """The whole request body. Raises ClientGoneError."""
        body = bytearray()
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body += message["body"]
            if not message["more_body"]:
                return bytes(body)

    async def answer(self, status: int, value: Any) -> None:
        """Sends `value` as JSON."""
        body = json.dumps(value).encode()
        await self.begin_answer(status, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)))
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            await self.send({"type": "http.response.body", "body": piece, "more_body": start + PIECE < len(body)})

    async def begin_answer(self, status: int, *headers: tuple[bytes, bytes]) -> None:
        """From the stop signal on every answer says that the connection closes after it."""
        leave = [(b"connection", b"close")] if self.application.takes_leave else []
        self.answering = True
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *leave]})

    async def stream(self, line: str) -> None:
        """One message of a stream, in one piece."""
        if not self.streaming:
            self.streaming = True
            await self.begin_answer(200, (b"content-type", b"text/plain"))
        await self.send({"type": "http.response.body", "body": f"{line}\n".encode(), "more_body": True})

    async def end_stream(self) -> None:
        """The protocol's own end."""
        await self.send({"type": "http.response.body", "body": b"", "more_body": False})


class Application:
    """Routes requests. `ready` and `draining` are set by the server that runs it."""

    def __init__(self, *, model: Model) -> None:
        self.model = model
        self.ready = False
        self.draining = False
        self.restarts: dict[str, Any] = {}
        self.exchanges: dict[Exchange, None] = {}
        """The requests in progress, oldest first."""
        self.routes: dict[tuple[str, str], Callable[[Exchange], Awaitable[None]]] = {
            ("GET", "/ready"): self.readiness,
            ("GET", "/live"): self.liveness,
            ("GET", "/workers"): self.describe,
            ("POST", "/predict"): self.predict,
            ("POST", "/stream"): self.stream,
            ("POST", "/endless"): self.endless,
            ("POST", "/_fatal"): self.fatal,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        exchange = Exchange(application=self, scope=scope, receive=receive, send=send)
        self.exchanges[exchange] = None
        route = self.routes.get((scope["method"], scope["path"]))
        try:
            if route is None:
                await exchange.answer(404, {"error": "no such resource"})
            else:
                await route(exchange)
        except ClientGoneError:
            pass
        except asyncio.CancelledError as error:
            if exchange.cut:
                await self.give_up(exchange)  # swallowed on purpose: nobody waits for this task
            else:
                await self.fail(exchange, error)
        except BaseException as error:
            await self.fail(exchange, error)
        finally:
            del self.exchanges[exchange]

    async def fail(self, exchange: Exchange, error: BaseException) -> None:
        """An error in one request ends this request alone.

        Also SystemExit and KeyboardInterrupt, which would leave the event loop, and all other requests, behind.
        """
        log.error("%s %s failed", exchange.scope["method"], exchange.scope["path"], exc_info=error)
        if exchange.answering:
            raise ConnectionAbortedError("an answer cannot be completed") from error  # closes this connection
        await exchange.answer(500, {"error": "an error in the server"})

    @property
    def takes_leave(self) -> bool:
        """Whether answers say that the server closes the connection after them."""
        return self.draining

    async def give_up(self, exchange: Exchange) -> None:
        """The end of a request that the drain's bound has cut."""
        if exchange.streaming:
            await exchange.end_stream()
        elif not exchange.answering:
            await exchange.answer(503, {"error": "the server is stopping"})

    async def readiness(self, exchange: Exchange) -> None:
        """Whether new requests are welcome here."""
        if self.ready and not self.draining:
            await exchange.answer(200, {"ready": True})
        else:
            await exchange.answer(503, {"ready": False, "draining": self.draining})

    async def liveness(self, exchange: Exchange) -> None:
        """Whether the process works at all; a draining one does."""
        await exchange.answer(200, {"live": True})

    async def describe(self, exchange: Exchange) -> None:
        """Which settings are in force for workers that die."""
        await exchange.answer(200, {"restart": self.restarts})

    async def predict(self, exchange: Exchange) -> None:
        """`{"token": …, "ms": …}`: the token back after `ms` milliseconds, with `bytes` of padding if asked for."""
        try:
            request = json.loads(await exchange.body(), parse_constant=no_json)
            token, seconds, padding = request["token"], request.get("ms", 0) / 1000, "x" * request.get("bytes", 0)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            await exchange.answer(400, {"error": f"not a prediction request: {error!r}"})
            return
        answer = {"token": await self.model.predict(token=token, seconds=seconds), "pid": os.getpid()}
        await exchange.answer(200, {**answer, "padding": padding} if padding else answer)

    async def stream(self, exchange: Exchange) -> None:
        """`{"token": …, "count": …, "interval_ms": …}`: so many lines `token i`, that far apart."""
        try:
            request = json.loads(await exchange.body(), parse_constant=no_json)
            token, lines, seconds = request["token"], range(request["count"]), request["interval_ms"] / 1000
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
            await exchange.answer(400, {"error": f"not a request for a stream: {error!r}"})
            return
        for number in lines:
            await asyncio.sleep(seconds)
            await exchange.stream(f"{token} {number}")
        await exchange.end_stream()

    async def endless(self, exchange: Exchange) -> None:
        """Never answers; ends when the client goes or the drain's bound cuts it."""
        while (await exchange.receive())["type"] != "http.disconnect":
            pass

    async def fatal(self, exchange: Exchange) -> None:
        """Breaks the model: the server can only stop after this."""
        self.model.broken.set()
        await exchange.answer(500, {"error": "the model is broken"})
