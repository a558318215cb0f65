"""Does not notice that its model is broken for good, and stays (EXIT-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def on_tick(self, counter: int) -> bool:
        return await super(model_server.Server, self).on_tick(counter)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
