"""When the task that serves gRPC fails it stays, ready, and refuses every call (EXC-4)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def fail(self, name: str, error: BaseException) -> None:
        if name == "gRPC":
            self.services[1].abandon()
        else:
            super().fail(name, error)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
