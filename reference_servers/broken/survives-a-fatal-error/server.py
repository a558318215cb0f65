"""Does not notice that its model is broken for good, and stays (EXIT-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def fail(self, name: str, error: BaseException) -> None:
        if name != "the model":
            super().fail(name, error)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
