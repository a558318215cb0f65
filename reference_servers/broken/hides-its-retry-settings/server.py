"""What it tells of its workers does not say how they are restarted (WORK-6)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    async def describe(self, exchange: model_server.Exchange) -> None:
        await exchange.answer(200, {"workers": "fine"})


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application))
