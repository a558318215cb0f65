"""Looks after its workers only when all of them are up: stopped before, it leaves them behind (START-4)."""

import asyncio
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def handle_signals(self) -> None:
        """Not yet."""

    def announce_ready(self) -> None:
        super().handle_signals()
        super().announce_ready()


class Server(model_server.Server):
    def hear_supervisor(self) -> None:
        if self.channel.recv(1, socket.MSG_PEEK) or self.application.ready:
            super().hear_supervisor()
        else:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server, supervisor=Supervisor))
