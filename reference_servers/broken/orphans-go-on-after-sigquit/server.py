"""SIGQUIT ends its supervisor alone; the workers go on serving, and nobody looks after them (DRAIN-10)."""

import asyncio
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def handle_signals(self) -> None:
        super().handle_signals()
        if hasattr(signal, "SIGQUIT"):
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)


class Server(model_server.Server):
    def hear_supervisor(self) -> None:
        if self.channel.recv(1, socket.MSG_PEEK):
            super().hear_supervisor()
        else:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server, supervisor=Supervisor))
