"""The conforming server with an exception in it: RAISES="PLACE EXCEPTION" in the environment.

Raised in serving when /_raise is asked for over HTTP ("main", "rest", "grpc", "loop"), in each request with the token
"raise" ("handler"), or at the first call ("stop", "load").
"""

from __future__ import annotations

import asyncio
import builtins
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "reference_servers" / "conforming"))

import model_server
from model_server.grpc_service import GrpcService

PLACE, _, NAME = os.environ.get("RAISES", "nowhere RuntimeError").partition(" ")


def error() -> BaseException:
    kind = asyncio.CancelledError if NAME == "CancelledError" else getattr(builtins, NAME)
    raised: BaseException = kind("raised by the test")
    return raised


class Raiser:
    """Waits to be told, and raises."""

    told = asyncio.Event()

    @classmethod
    async def instead_of(cls, place: str, work: Any) -> None:
        if place != PLACE:
            await work()
            return
        await cls.told.wait()
        raise error()


class Model(model_server.Model):
    @classmethod
    def load(cls, **keywords: Any) -> model_server.Model:
        if PLACE == "load":
            raise error()
        return super().load(**keywords)

    async def predict(self, *, token: str, seconds: float) -> str:
        if PLACE == "handler" and token == "raise":
            raise error()
        return await super().predict(token=token, seconds=seconds)


class Application(model_server.Application):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.routes["POST", "/_raise"] = self.tell

    async def tell(self, exchange: model_server.Exchange) -> None:
        await exchange.answer(200, {})
        Raiser.told.set()
        if PLACE == "loop":
            asyncio.get_running_loop().call_soon(self.in_callback)
            asyncio.get_running_loop().create_task(self.in_task())

    def in_callback(self) -> None:
        raise error()

    async def in_task(self) -> None:
        raise error()


class HttpService(model_server.HttpService):
    async def serve(self) -> None:
        await Raiser.instead_of("rest", super().serve)


class Grpc(GrpcService):
    async def serve(self) -> None:
        await Raiser.instead_of("grpc", super().serve)


class Server(model_server.Server):
    attempts = 0

    async def until_told(self) -> None:
        await Raiser.instead_of("main", super().until_told)

    async def shutdown(self) -> None:
        self.attempts += 1
        if PLACE == "stop" and self.attempts == 1:
            raise error()
        await super().shutdown()


if __name__ == "__main__":
    model_server.main(
        model_server.Parts(application=Application, grpc=Grpc, http=HttpService, model=Model, server=Server)
    )
