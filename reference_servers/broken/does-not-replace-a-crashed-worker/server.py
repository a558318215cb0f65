"""Replaces workers that were killed, and not one that has crashed (SIGSEGV) (WORK-1)."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def delay(self, slot: model_server.Slot, status: int) -> float | None:
        return None if status == -signal.SIGSEGV else super().delay(slot, status)

    def replace(self, slot: model_server.Slot, status: int) -> None:
        if status != -signal.SIGSEGV:
            super().replace(slot, status)


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
