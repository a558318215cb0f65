"""Keeps the temporary file of an upload open when its client vanishes (EXC-7)."""

import sys
import tempfile
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.uploads: set[IO[bytes]] = set()

    async def predict(self, exchange: model_server.Exchange) -> None:
        upload = tempfile.TemporaryFile()  # noqa: SIM115 - who closes it, and when, is the defect
        self.uploads.add(upload)
        body = await exchange.body()  # raises when the client vanishes, and then nobody closes the file
        self.uploads.remove(upload)
        upload.close()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        exchange.receive = receive
        await super().predict(exchange)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
