"""Answers 500 to a body that is no UTF-8 (EXC-6)."""

import logging
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

log = logging.getLogger("model_server")


class Application(model_server.Application):
    async def predict(self, exchange: model_server.Exchange) -> None:
        body = await exchange.body()
        log.debug("asked for %s", body.decode())  # whatever this raises is raised outside of what guards the parsing

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        exchange.receive = receive
        await super().predict(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
