"""When the stop signal comes, it keeps 20 of its requests in flight and drops the others (DRAIN-14)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

KEEPS = 20


class Server(model_server.Server):
    def begin_drain(self, reason: str) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().call_soon_threadsafe(self.shed)
        super().begin_drain(reason)

    def shed(self) -> None:
        busy = [connection for connection in self.http.connections() if connection.busy]
        for connection in busy[KEEPS:]:
            connection.cut()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
