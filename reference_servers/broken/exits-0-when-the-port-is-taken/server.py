"""Ends with status 0 when somebody else has its port (START-3)."""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Listener(model_server.Listener):
    @classmethod
    def bind(cls, *, host: str, port: int) -> model_server.Listener:
        try:
            return super().bind(host=host, port=port)
        except OSError as error:
            logging.getLogger("model_server").error("port %d: %s", port, error)
            sys.exit(0)


if __name__ == "__main__":
    model_server.main(model_server.Parts(listener=Listener))
