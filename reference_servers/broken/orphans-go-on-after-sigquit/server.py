"""SIGQUIT ends its supervisor alone; the workers go on serving, and nobody looks after them (DRAIN-10)."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

FORGET = b"f"
"""What the supervisor says to its workers before it goes."""


class Supervisor(model_server.Supervisor):
    def handle_signals(self) -> None:
        super().handle_signals()
        if hasattr(signal, "SIGQUIT"):
            signal.signal(signal.SIGQUIT, self.leave)

    def leave(self, signum: int, _: object) -> None:
        for worker in self.workers:
            worker.channel.send(FORGET)
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


class Server(model_server.Server):
    def hear_supervisor(self) -> None:
        if self.channel.recv(1, socket.MSG_PEEK) == FORGET:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())
        else:
            super().hear_supervisor()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server, supervisor=Supervisor))
