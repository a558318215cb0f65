"""Where one worker crashes (SIGSEGV), it ends all others on the spot and starts anew (WORK-3)."""

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def replace(self, slot: model_server.Slot, status: int) -> None:
        if status == -signal.SIGSEGV:
            for worker in self.workers:
                worker.process.kill()
        super().replace(slot, status)


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
