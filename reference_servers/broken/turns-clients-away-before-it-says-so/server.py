"""Answers 503 from the stop signal on, and says only half a second later that it is not ready (ROLL-1)."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

SAYS_SO_AFTER = 0.5
"""Seconds; more than a balancer's health check takes, and less than DRAIN-5 allows."""

CROWD = 20
"""With more in flight than that it behaves: to turn away what has been read long ago is another defect."""


class Application(model_server.Application):
    drain_seen = None

    @property
    def says_so(self) -> bool:
        if self.draining and self.drain_seen is None:
            self.drain_seen = time.monotonic()
        return self.drain_seen is not None and time.monotonic() >= self.drain_seen + SAYS_SO_AFTER

    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.draining and len(self.exchanges) <= CROWD:
            await exchange.answer(503, {"error": "the server is stopping"})
        else:
            await super().predict(exchange)

    async def readiness(self, exchange: model_server.Exchange) -> None:
        if self.draining and not self.says_so:
            await exchange.answer(200, {"ready": True})
        else:
            await super().readiness(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
