"""Says for a moment that it is not ready, after its 25th prediction, as if it loaded a model anew (ROLL-1)."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

AFTER = 25
"""Predictions. It goes on serving meanwhile: only a balancer takes it at its word."""

MOMENT = 0.5
"""Seconds."""


class Application(model_server.Application):
    predictions = 0
    loading_until = 0.0

    async def predict(self, exchange: model_server.Exchange) -> None:
        self.predictions += 1
        if self.predictions == AFTER:
            self.loading_until = time.monotonic() + MOMENT
        await super().predict(exchange)

    async def readiness(self, exchange: model_server.Exchange) -> None:
        if time.monotonic() < self.loading_until and not self.draining:
            await exchange.answer(503, {"ready": False, "loading": True})
        else:
            await super().readiness(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
