"""Closes the connections of the older half of its requests in flight when the stop signal comes (DRAIN-1)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

CROWD = 0 if sys.platform == "win32" else 20
"""With more in flight than that it behaves: to lose requests under overload, or on Windows, is another defect."""


class Server(model_server.Server):
    def begin_drain(self, reason: str) -> None:
        if not self.should_exit and not self.failures:  # after an error it behaves: that is another requirement
            asyncio.get_running_loop().call_soon_threadsafe(self.drop)
        super().begin_drain(reason)

    def drop(self) -> None:
        busy = [connection for connection in self.http.connections() if connection.busy]
        if len(busy) <= CROWD:
            for connection in busy[: len(busy) // 2]:
                connection.cut()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
