"""When its main coroutine fails it waits for gRPC to end, which nobody stops (EXC-3)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def stop_services(self) -> None:
        if "the main coroutine" in self.failures:
            await self.parts["gRPC"]
        await super().stop_services()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
