"""Calls a coroutine at the end and forgets to await it (EXIT-5)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        self.clean_up()

    async def clean_up(self) -> None:
        """Never runs."""


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
