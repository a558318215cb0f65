"""Waits without a bound for clients that do not read their answer (DRAIN-13)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def finish_requests(self) -> bool:
        finished = await super().finish_requests()
        while any(
            connection.busy and connection.cycle and connection.cycle.response_started
            for connection in self.http.connections()
        ):
            await asyncio.sleep(0.01)
        return finished


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
