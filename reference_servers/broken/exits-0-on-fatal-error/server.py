"""Ends with status 0 after a fatal error, as if it had been told to stop (EXIT-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        self.failures.pop("the model", None)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
