"""Told to run two workers, it runs one (START-6)."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def __init__(self, *, settings: model_server.Settings, listeners: Sequence[model_server.Listener]) -> None:
        super().__init__(settings=dataclasses.replace(settings, workers=1), listeners=listeners)


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
