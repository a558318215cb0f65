"""When the task that serves HTTP fails it stays, ready, and turns every prediction away (EXC-4)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    half_alive = False

    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.half_alive:
            await exchange.answer(503, {"error": "nobody serves HTTP any more"})
        else:
            await super().predict(exchange)


class Server(model_server.Server):
    application: Application

    def fail(self, name: str, error: BaseException) -> None:
        if name == "HTTP":
            self.application.half_alive = True
        else:
            super().fail(name, error)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
