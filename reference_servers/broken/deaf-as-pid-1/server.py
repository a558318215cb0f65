"""Leaves the stop signal to its default action, which the kernel does not take for PID 1 (CONT-1)."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            yield


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
