"""On SIGHUP it unloads its model to load it anew, which it never does: it lives, and serves nobody (DRAIN-10)."""

import signal
import sys
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.ready:
            await super().predict(exchange)
        else:
            await exchange.answer(503, {"error": "the model is being loaded"})


class Server(model_server.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == getattr(signal, "SIGHUP", None):
            self.application.ready = False
        else:
            super().handle_exit(sig, frame)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
