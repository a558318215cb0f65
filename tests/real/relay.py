"""A relay between DOCKER_HOST and the engine: an engine that can be taken away, made to hang, and given back.

Run as a program: `relay.py SOCKET ENGINE`. It is a process of its own, so that it can be killed like an engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


class Relay:
    """The process, from the side of a test."""

    def __init__(self, folder: Path, engine: str) -> None:
        self._path = folder / "engine.sock"
        self._engine = engine.removeprefix("unix://")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What to set DOCKER_HOST to."""
        return f"unix://{self._path}"

    def start(self) -> None:
        """Lets the engine be there (again)."""
        self._path.unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, __file__, str(self._path), self._engine])
        until = time.monotonic() + 30
        while not self._path.exists():
            assert time.monotonic() < until
            time.sleep(0.01)

    def kill(self) -> None:
        """Takes the engine away: its connections end, and new ones are refused."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Lets the engine stand still: connections come about, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def main(path: str, engine: str) -> None:
    """Passes connections on for ever."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path + ".new")
        server.listen(64)
        os.rename(path + ".new", path)  # noqa: PTH104
        while True:
            client, _ = server.accept()
            there = socket.socket(socket.AF_UNIX)
            there.connect(engine)
            for pair in ((client, there), (there, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
