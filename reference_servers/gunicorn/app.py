"""A small model as a bare ASGI application: echoes what it is sent, at once, after some milliseconds, or never.

`POST /predict` with `{"token": "a", "ms": 500}` is answered after half a second with `{"token": "a", "pid": 4711}`,
where `pid` is the worker's. `ms` may be left out (0), or be `"endless"`. `GET /ready` is 200 where a worker answers.
`ECHO_LOAD=raises` makes each worker fail when it imports this file.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

if os.environ.get("ECHO_LOAD") == "raises":
    raise RuntimeError("cannot load the model echo: its weights are missing (ECHO_LOAD=raises)")

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Speaks HTTP only; what is asked for its lifespan is refused, as the protocol has it."""
    if scope["type"] != "http":
        raise NotImplementedError(f"no {scope['type']} here")
    if scope["path"] == "/ready":
        await _answer(send, 200, {"ready": True})
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    asked = _asked(body)
    if asked is None or scope["path"] != "/predict":
        await _answer(send, 400, {"error": 'expected {"token": …, "ms": a number, or "endless"} at /predict'})
        return
    # One write for the whole line, so that lines of several workers do not mix.
    print(f"works on {asked['token']}\n", end="", flush=True)
    ms = asked.get("ms", 0)
    await (asyncio.Event().wait() if ms == "endless" else asyncio.sleep(ms / 1000))
    await _answer(send, 200, {"token": asked["token"], "pid": os.getpid()})


def _asked(body: bytes) -> dict[str, Any] | None:
    """What is asked; None where it is not of the right shape."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or not isinstance(asked.get("token"), str):
        return None
    ms = asked.get("ms", 0)
    number = isinstance(ms, (int, float)) and not isinstance(ms, bool) and 0 <= ms < 86_400_000
    return asked if ms == "endless" or number else None


async def _answer(send: Send, status: int, value: object) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
