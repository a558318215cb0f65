"""Ignores stop signals while it loads its model, and so loses them: it comes up and stays (START-4)."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Model(model_server.Model):
    @classmethod
    def load(cls, *, path: Path, seconds: float) -> model_server.Model:
        for signum in model_server.STOP_SIGNALS:
            signal.signal(signum, signal.SIG_IGN)
        return super().load(path=path, seconds=seconds)


if __name__ == "__main__":
    model_server.main(model_server.Parts(model=Model))
