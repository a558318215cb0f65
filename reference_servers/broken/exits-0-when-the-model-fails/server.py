"""Ends with status 0, as if all were well, when its model cannot be loaded (START-2)."""

import logging
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Model(model_server.Model):
    @classmethod
    def load(cls, *, path: Path, seconds: float) -> model_server.Model:
        try:
            return super().load(path=path, seconds=seconds)
        except model_server.ModelError as error:
            logging.getLogger("model_server").error("%s", error)
            logging.shutdown()
            os._exit(0)


if __name__ == "__main__":
    model_server.main(model_server.Parts(model=Model))
