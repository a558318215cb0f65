"""SystemExit and KeyboardInterrupt in a request end the process at once (EXC-2)."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def fail(self, exchange: model_server.Exchange, error: BaseException) -> None:
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            os._exit(1)
        await super().fail(exchange, error)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
