"""Has nothing more to do, and ends only when its grace period is nearly over (DRAIN-8)."""

import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

NEARLY = 0.0 if sys.platform == "win32" else 3.0
"""Seconds after the stop signal; what Windows makes of a late end is not what is broken here."""


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        await asyncio.sleep(self.drain_began + NEARLY - time.monotonic())


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
