"""Unloads its model when the stop signal comes: requests that arrive later get a 404 (DRAIN-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

CROWD = 20
"""With more requests in flight than that it keeps the model; what is lost under overload is a defect of its own."""


class Application(model_server.Application):
    unloaded = False

    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.unloaded:
            await exchange.answer(404, {"error": "no such model"})
        else:
            await super().predict(exchange)


class Server(model_server.Server):
    application: Application

    def begin_drain(self, reason: str) -> None:
        if not self.should_exit:
            self.application.unloaded = len(self.application.exchanges) <= CROWD
        super().begin_drain(reason)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
