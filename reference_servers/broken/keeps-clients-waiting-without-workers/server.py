"""While no worker is up, connections are left in the queue of its listener (WORK-8)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def receive_where_nobody_else_does(self) -> None:
        """Nobody does."""


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
