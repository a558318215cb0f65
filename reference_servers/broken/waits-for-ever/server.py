"""Waits without a bound for requests that it is still working on (DRAIN-7)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def finish_requests(self) -> bool:
        finished = await super().finish_requests()
        while any(self.in_work(connection) for connection in self.http.connections()):
            await asyncio.sleep(0.01)
        return finished

    def in_work(self, connection: model_server.Connection) -> bool:
        """The request is there completely, and no answer has begun."""
        cycle = connection.cycle
        return connection.busy and cycle is not None and not cycle.more_body and not cycle.response_started


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
