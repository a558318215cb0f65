"""Handles signals in the event loop, which cannot do that on Windows (WIN-1)."""

import asyncio
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def open_listener(self) -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self.handle_exit, signum, None)
        await super().open_listener()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
