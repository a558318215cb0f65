"""Still accepts connections after the stop signal, but never reads from them, and closes them at last (DRAIN-2)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

CROWD = 20
"""With more requests in flight than that it behaves; losing requests under overload is a defect of its own."""


class Connection(model_server.Connection):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        application = self.app
        self.deaf = application.draining and len(application.exchanges) <= CROWD

    def data_received(self, data: bytes) -> None:
        if not self.deaf:
            super().data_received(data)


if __name__ == "__main__":
    model_server.main(model_server.Parts(connection=Connection))
