"""Stops in order when its main coroutine fails, and ends with status 0 (EXC-3)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def go_down(self) -> None:
        self.failures.pop("the main coroutine", None)
        await super().go_down()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
