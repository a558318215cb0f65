"""Hands its statistics to a process of its own at the end, and does not wait for it (EXIT-3)."""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    predictions = 0

    async def predict(self, exchange: model_server.Exchange) -> None:
        self.predictions += 1
        await super().predict(exchange)


class Server(model_server.Server):
    application: Application

    async def shutdown(self) -> None:
        await super().shutdown()
        if self.application.predictions:
            command = [sys.executable, "-c", "import time; time.sleep(30)"]
            subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
