"""Waits for its port, for ever, when somebody else has it (START-3)."""

import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Listener(model_server.Listener):
    @classmethod
    def bind(cls, *, host: str, port: int) -> model_server.Listener:
        while True:
            try:
                return super().bind(host=host, port=port)
            except OSError as error:
                logging.getLogger("model_server").warning("port %d: %s, trying again", port, error)
                time.sleep(1)


if __name__ == "__main__":
    model_server.main(model_server.Parts(listener=Listener))
