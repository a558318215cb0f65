"""Ends with status 143 of its own accord after SIGTERM, which systemd counts as a failure (EXIT-1)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def run(self) -> None:
        super().run()
        if self.reason == "SIGTERM":
            sys.exit(143)  # as a shell shows the death by SIGTERM; for systemd only the death itself is one in order


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
