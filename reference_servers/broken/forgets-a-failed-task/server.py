"""Starts a task at the end that fails, and never looks at it (EXIT-5)."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        asyncio.get_running_loop().create_task(self.write_statistics())
        await asyncio.sleep(0)

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)

    async def write_statistics(self) -> None:
        raise ConnectionError("the statistics server is gone")


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
