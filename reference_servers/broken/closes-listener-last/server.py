"""Closes its listener last of all, after the requests in flight were answered; new ones get 503 (EXIT-6)."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

CLEAN_UP = 0.2
"""Seconds that it takes to put everything else away before the listener."""


class Application(model_server.Application):
    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.draining:
            await exchange.answer(503, {"error": "the server is stopping"})
        else:
            await super().predict(exchange)


class Server(model_server.Server):
    async def lame_duck(self) -> None:
        await super().lame_duck()
        while self.application.exchanges and time.monotonic() < self.bound:
            await asyncio.sleep(0.01)
        await asyncio.sleep(CLEAN_UP)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
