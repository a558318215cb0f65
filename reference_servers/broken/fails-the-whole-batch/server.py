"""One malformed request costs everybody who is in progress with it the answer (EXC-6)."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Exchange(model_server.Exchange):
    async def answer(self, status: int, value: Any) -> None:
        if status == 400:  # the batch has failed, and with it all who are in it
            for other in list(self.application.exchanges):
                if other is not self:
                    other.cancel()
        await super().answer(status, value)


class Application(model_server.Application):
    async def predict(self, exchange: model_server.Exchange) -> None:
        exchange.__class__ = Exchange
        await super().predict(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
