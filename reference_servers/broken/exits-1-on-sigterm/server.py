"""Takes an ordinary stop for a failure: it drains well and ends with status 1 (EXIT-1)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def shutdown(self) -> None:
        await super().shutdown()
        if self.reason == "SIGTERM":
            self.failures["the server"] = RuntimeError("stopped by a signal")


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
