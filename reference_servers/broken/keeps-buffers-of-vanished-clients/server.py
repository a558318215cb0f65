"""Keeps the buffer of a request in memory when its client vanishes (EXC-7)."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

BUFFER = 64 * 1024
"""Bytes that are set aside for each request."""


class Application(model_server.Application):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.buffers: dict[model_server.Exchange, bytearray] = {}

    async def predict(self, exchange: model_server.Exchange) -> None:
        self.buffers[exchange] = bytearray(BUFFER)
        body = await exchange.body()  # raises when the client vanishes, and then nobody takes the buffer back
        del self.buffers[exchange]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        exchange.receive = receive
        await super().predict(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
