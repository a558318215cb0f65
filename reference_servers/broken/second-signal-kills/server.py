"""A second signal ends it at once, with whatever is in flight (DRAIN-9)."""

import os
import sys
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Server(model_server.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        super().handle_exit(sig, frame)


if __name__ == "__main__":
    model_server.main(model_server.Parts(server=Server))
