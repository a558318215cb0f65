"""A worker that has stood still forgets the requests that it was working on (WORK-2)."""

import asyncio
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Model(model_server.Model):
    stood_still = 0

    async def predict(self, *, token: str, seconds: float) -> str:
        before = self.stood_still
        answer = await super().predict(token=token, seconds=seconds)
        if self.stood_still > before:
            await asyncio.Event().wait()
        return answer


class Server(model_server.Server):
    async def startup(self) -> None:
        signal.signal(signal.SIGCONT, self.on_continue)
        await super().startup()

    def on_continue(self, *_: object) -> None:
        Model.stood_still += 1


if __name__ == "__main__":
    model_server.main(model_server.Parts(model=Model, server=Server))
