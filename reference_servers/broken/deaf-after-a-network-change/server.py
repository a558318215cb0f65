"""Closes its port when its network goes away, and opens it no more when it is back (CONT-4)."""

import asyncio
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def until_told(self) -> None:
        while not self.should_exit:
            if {name for _, name in socket.if_nameindex()} <= {"lo"}:
                await self.http.close_listener()
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
