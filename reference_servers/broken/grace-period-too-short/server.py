"""Drains in order, but for longer than its preStop hook leaves of the pod's grace period (CONT-3)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

CLEAN_UP = 2.2
"""Seconds that it takes to put everything away after the last answer."""


class Server(model_server.Server):
    async def stop_services(self) -> None:
        await asyncio.sleep(CLEAN_UP)
        await super().stop_services()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
