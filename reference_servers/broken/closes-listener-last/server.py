"""Closes its listener only when the requests that were in flight have been answered (EXIT-6)."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def lame_duck(self) -> None:
        await super().lame_duck()
        in_flight = list(self.application.exchanges)
        while any(exchange in self.application.exchanges for exchange in in_flight) and time.monotonic() < self.bound:
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
