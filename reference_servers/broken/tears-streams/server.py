"""Breaks streams in progress off within a message when the stop signal comes (DRAIN-11)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Exchange(model_server.Exchange):
    async def stream(self, line: str) -> None:
        if self.application.draining and self.streaming:
            half = line[: len(line) // 2].encode()
            await self.send({"type": "http.response.body", "body": half, "more_body": True})
            raise ConnectionAbortedError("the server is stopping")
        await super().stream(line)


class Application(model_server.Application):
    async def stream(self, exchange: model_server.Exchange) -> None:
        exchange.__class__ = Exchange
        await super().stream(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
