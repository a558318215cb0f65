"""Keeps its model in a segment of shared memory that it never removes (EXIT-4)."""

import mmap
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def open_listener(self) -> None:
        with Path(f"/dev/shm/model-server-{os.getpid()}").open("w+b") as segment:
            segment.truncate(4096)
            self.weights = mmap.mmap(segment.fileno(), 4096)
        await super().open_listener()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
