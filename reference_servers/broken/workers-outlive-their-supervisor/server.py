"""Where its supervisor is killed, a worker goes on serving (WORK-9)."""

import asyncio
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def hear_supervisor(self) -> None:
        if self.channel.recv(1, socket.MSG_PEEK):
            super().hear_supervisor()
        else:
            asyncio.get_running_loop().remove_reader(self.channel.fileno())


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
