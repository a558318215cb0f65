"""An error in one request ends the other requests in progress as well (EXC-1)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def fail(self, exchange: model_server.Exchange, error: BaseException) -> None:
        if isinstance(error, Exception):
            for other in list(self.exchanges):
                if other is not exchange:
                    other.cancel()
        await super().fail(exchange, error)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
