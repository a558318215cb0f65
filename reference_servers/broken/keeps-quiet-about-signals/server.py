"""Says nothing in its log about the limits of signal handling on Windows (WIN-2)."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def run(self, *arguments: object) -> None:
        log = logging.getLogger("model_server")
        log.addFilter(lambda record: "limited" not in record.getMessage())
        super().run()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
