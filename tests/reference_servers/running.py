"""A reference server, run without the harness: a process in a session of its own, and plain HTTP requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from drainproof.probes import sockets
from drainproof.target.manifest import load_target
from drainproof.target.ports import reserve

SERVERS = Path(__file__).resolve().parents[2] / "reference_servers"
CONFORMING = SERVERS / "conforming"
BROKEN = SERVERS / "broken"

PATIENCE = 20.0
"""Seconds that anything may take on a machine that is busy with other tests."""


class Running:
    """One running server. As a context manager it ends whatever is left of it."""

    def __init__(
        self, folder: Path, *, tmp: Path, workers: int | None = None, port: int = 0, **environment: str
    ) -> None:
        self.target = load_target(folder)
        self.workers = workers or max(self.target.workers)
        self.reservation = reserve(names=self.target.ports)
        self.ports = {name: self.reservation[name] for name in self.target.ports} | ({"http": port} if port else {})
        self.port = self.ports["http"]
        arguments: dict[str, Any] = {"ports": self.ports, "workers": self.workers, "tmp": tmp}
        self.output = tmp / f"output-{self.port}"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.target.command_line(**arguments),
                cwd=self.target.working_directory,
                env={**os.environ, **self.target.environment_for(**arguments), "TMPDIR": str(tmp), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.tree():
            process.kill()
        self.process.wait()
        self.reservation.release()

    def tree(self) -> list[psutil.Process]:
        """The living processes of its session."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, ProcessLookupError):
                continue
        return found

    def ask(self, method: str, path: str, value: Any = None) -> tuple[int, Any, http.client.HTTPMessage]:
        """One request on a connection of its own: status, JSON value and headers of the answer. Raises OSError."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=None if value is None else json.dumps(value))
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers
        finally:
            connection.close()

    def predict(self, *, token: str = "token", ms: int = 0) -> tuple[int, Any, http.client.HTTPMessage]:
        """One prediction."""
        return self.ask("POST", "/predict", {"token": token, "ms": ms})

    def await_serving(self) -> Running:
        """Returns when it is ready and a prediction succeeds."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if self.ask("GET", "/ready")[0] == 200 and self.predict()[0] == 200:
                    return self
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.02)  # between two looks
        raise AssertionError(f"it does not serve:\n{self.text()}")

    def await_accepted(self, count: int) -> None:
        """Returns when the server has accepted `count` connections and read what came on them."""
        until = time.monotonic() + PATIENCE
        while True:
            ends = sockets.HERE.snapshot(port=self.port).sockets.values()
            found = sum(end.accepted and end.unread == 0 for end in ends)
            if found == count:
                return
            assert time.monotonic() < until, f"{found} of {count} connections were accepted"
            time.sleep(0.002)  # between two looks

    def send(self, signum: int) -> None:
        """A signal to the main process."""
        os.kill(self.process.pid, signum)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit status."""
        self.send(signum)
        return self.wait()

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(PATIENCE)

    def await_gone(self) -> None:
        """Returns when no process of its session is left."""
        until = time.monotonic() + PATIENCE
        while self.tree():
            assert time.monotonic() < until, f"these live on: {self.tree()}"
            time.sleep(0.02)  # between two looks

    def text(self) -> str:
        """What it has printed."""
        return self.output.read_text(errors="replace")
