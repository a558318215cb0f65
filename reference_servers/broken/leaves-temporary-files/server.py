"""Makes a temporary directory that it never removes (EXIT-4)."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    async def open_listener(self) -> None:
        Path(tempfile.mkdtemp(prefix="model-server-"), "cache").write_bytes(b"weights")
        await super().open_listener()


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
