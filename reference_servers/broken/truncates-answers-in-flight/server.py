"""Answers the older half of its requests in flight with half an answer when the stop signal comes (DRAIN-1)."""

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
            asyncio.get_running_loop().call_soon_threadsafe(self.hurry)
        super().begin_drain(reason)

    def hurry(self) -> None:
        exchanges = list(self.application.exchanges)
        if len(exchanges) <= CROWD:
            for exchange in exchanges[: len(exchanges) // 2]:
                exchange.cancel()


class Application(model_server.Application):
    async def give_up(self, exchange: model_server.Exchange) -> None:
        if not exchange.answering:
            headers = [(b"content-length", b"40"), (b"connection", b"close")]
            await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": b'{"token": "', "more_body": True})


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
