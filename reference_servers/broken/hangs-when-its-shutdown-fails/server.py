"""Neither goes on nor ends after an error in its shutdown (EXC-5)."""

import asyncio
import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def go_down(self) -> None:
        try:
            await self.shutdown()
        except BaseException:
            logging.getLogger("model_server").exception("the shutdown failed")
            await asyncio.Event().wait()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
