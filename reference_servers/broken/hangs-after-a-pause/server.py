"""Takes a pause for the end of its device, and lets every later request wait for a new one (CONT-4)."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

LOST_AFTER = 2.5
"""Seconds without a sign of life after which the device is taken for lost."""


class Application(model_server.Application):
    lost = False

    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.lost:
            await asyncio.Event().wait()
        await super().predict(exchange)


class Server(model_server.Server):
    async def until_told(self) -> None:
        seen = time.monotonic()
        while not self.should_exit:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if now - seen > LOST_AFTER:
                self.application.lost = True
            seen = now


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
