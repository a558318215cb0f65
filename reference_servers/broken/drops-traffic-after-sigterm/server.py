"""Closes its listener on SIGTERM at once, while its service still sends clients to it, and has no preStop (CONT-2)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def lame_duck(self) -> None:
        """It would be right in front of a balancer that has let go of it before, as a preStop hook makes sure."""


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
