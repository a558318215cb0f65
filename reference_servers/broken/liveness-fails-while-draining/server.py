"""Says that it does not live while it drains (DRAIN-6)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def liveness(self, exchange: model_server.Exchange) -> None:
        if self.draining:
            await exchange.answer(503, {"live": False})
        else:
            await super().liveness(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
