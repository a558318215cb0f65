"""Says that it is ready as long as it listens, and listens long (DRAIN-5)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def readiness(self, exchange: model_server.Exchange) -> None:
        await exchange.answer(200, {"ready": True})


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
