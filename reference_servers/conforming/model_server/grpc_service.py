"""gRPC: grpc.aio in the same event loop, behind a door (see `door.py`) with a listener of our own.

Imported only where gRPC is spoken: the library takes longer to import than all the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import grpc

from model_server.application import Application
from model_server.door import Passage
from model_server.listener import Listener
from model_server.messages import MessageError, parse_request, serialize_answer
from model_server.platforms import ON_WINDOWS
from model_server.settings import Settings

LAST_WORDS = 0.1
"""Seconds in which what was cut can still leave."""

log = logging.getLogger("model_server")


@dataclass(eq=False)
class Call:
    """One call in progress."""

    task: asyncio.Task[Any] | None
    cut: bool = False


class GrpcService(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    """Serves gRPC. `server.py` says when what happens."""

    name = "gRPC"

    def __init__(self, *, settings: Settings, application: Application, listener: Listener) -> None:
        self.settings = settings
        self.application = application
        self.listener = listener
        self.calls: dict[Call, None] = {}
        """The calls in progress, oldest first."""
        self.passages: set[Passage] = set()

    async def start(self) -> None:
        """Everything but the listener: grpc.aio serves on an address that only the door knows."""
        self.core = grpc.aio.server(handlers=[self])
        self.path = f"\0model-server-{os.getpid()}-{secrets.token_hex(8)}"
        address = "127.0.0.1:0" if ON_WINDOWS else f"unix-abstract:{self.path[1:]}"
        self.port = self.core.add_insecure_port(address)
        await self.core.start()

    def open(self) -> None:
        """From here on clients can connect. Raises OSError where the port is taken."""
        self.listener.open(protocol=lambda: Passage(connect=self.connect, passages=self.passages).client)

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """A connection from the door to grpc.aio. Raises OSError."""
        loop = asyncio.get_running_loop()
        if ON_WINDOWS:
            await loop.create_connection(lambda: protocol, "127.0.0.1", self.port)
        else:
            await loop.create_unix_connection(lambda: protocol, self.path)

    async def serve(self) -> None:
        """Runs for as long as gRPC is served."""
        await self.core.wait_for_termination()

    async def close_listener(self) -> None:
        """No new connections; and who has one is told to make no more calls on it."""
        await self.listener.close()
        for passage in self.passages:
            passage.client.leave()

    def work_left(self) -> bool:
        """Whether there is anybody left to wait for. One who is owed nothing and silent since long enough is not."""
        return bool(self.calls) or any(
            passage.client.busy or passage.quiet_for() < self.settings.quiet for passage in self.passages
        )

    async def cut(self) -> None:
        """Calls in progress end UNAVAILABLE."""
        for call in list(self.calls):
            call.cut = True
            if call.task is not None:
                call.task.cancel()
        await asyncio.sleep(LAST_WORDS)

    async def stop(self) -> None:
        """The connections first, then grpc.aio."""
        for passage in list(self.passages):
            passage.close()
        await self.core.stop(0)

    def abandon(self) -> None:
        """Lets go of everything at once; grpc.aio ends with its object."""
        self.listener.abandon()
        for passage in list(self.passages):
            passage.cut()

    # ---- The methods

    def service(self, handler_call_details: Any) -> Any:
        """grpc.aio asks which handler a method has."""
        if handler_call_details.method == "/inference.GRPCInferenceService/ModelInfer":
            return grpc.unary_unary_rpc_method_handler(self.model_infer)
        if handler_call_details.method == "/drainproof.reference.Stream/Count":
            return grpc.unary_stream_rpc_method_handler(self.count)
        return None

    async def model_infer(self, request: bytes, context: Any) -> Any:
        """Tensor `token` back, after the seconds in the tensor `seconds`."""
        return await self.answered(self.inferred(request), context)

    async def inferred(self, request: bytes) -> bytes:
        """The answer to a `ModelInferRequest`."""
        inference = parse_request(request)
        if not 0 <= inference.seconds < math.inf:
            raise MessageError("`seconds` is no time to wait")
        await self.application.model.predict(token=inference.token, seconds=inference.seconds)
        return serialize_answer(inference=inference)

    async def count(self, request: bytes, context: Any) -> None:
        """`token count interval_ms`: so many messages `token i`, that far apart."""
        await self.answered(self.counted(request, context), context)

    async def counted(self, request: bytes, context: Any) -> None:
        """Sends the messages."""
        try:
            token, count, interval = request.decode("ascii").split()
            messages, seconds = range(int(count)), int(interval) / 1000
        except ValueError as error:
            raise MessageError("expected `token count interval_ms`") from error
        for number in messages:
            await asyncio.sleep(seconds)
            await context.write(f"{token} {number}".encode())

    async def answered(self, work: Coroutine[Any, Any, Any], context: Any) -> Any:
        """The result of `work`. Whatever it raises ends this call and nothing else.

        Above all SystemExit and KeyboardInterrupt, which would leave the event loop, and all other calls, behind.
        """
        call = Call(asyncio.current_task())
        self.calls[call] = None
        try:
            return await work
        except MessageError as error:
            code, details = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        except asyncio.CancelledError as error:
            if context.done():
                raise  # the client has gone
            code, details = grpc.StatusCode.UNAVAILABLE, "the server is stopping"
            if not call.cut:
                code, details = grpc.StatusCode.INTERNAL, "an error in the server"
                log.error("a call failed", exc_info=error)
        except BaseException as error:
            code, details = grpc.StatusCode.INTERNAL, "an error in the server"
            log.error("a call failed", exc_info=error)
        finally:
            del self.calls[call]
        with contextlib.suppress(grpc.aio.UsageError):  # it was over already
            await context.abort(code, details)
        return None
