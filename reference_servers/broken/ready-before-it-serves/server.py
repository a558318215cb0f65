"""Says that it is ready a while before it can answer a request (START-1)."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

WARM_UP = 0.7
"""Seconds from the first turn of the event loop until the model answers."""


class Application(model_server.Application):
    def __init__(self, *, model: model_server.Model) -> None:
        super().__init__(model=model)
        self.warm_at = time.monotonic() + WARM_UP

    async def predict(self, exchange: model_server.Exchange) -> None:
        if time.monotonic() < self.warm_at:
            await exchange.answer(503, {"error": "the model is not there yet"})
        else:
            await super().predict(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
