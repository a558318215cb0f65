"""Writes beside its own code when it starts, which only root on a writable file system can (CONT-5)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Model(model_server.Model):
    @classmethod
    def load(cls, *, path: Path, seconds: float) -> model_server.Model:
        Path(__file__).with_name("compiled-model").write_bytes(path.read_bytes())
        return super().load(path=path, seconds=seconds)


if __name__ == "__main__":
    model_server.main(model_server.Parts(model=Model))
