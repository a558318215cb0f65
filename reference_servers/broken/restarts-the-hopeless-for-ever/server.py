"""A worker that cannot load its model is started again and again, beyond the declared limit (WORK-5)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def delay(self, slot: model_server.Slot, status: int) -> float | None:
        """The longest delay for as long as it takes, where the worker has ended by itself."""
        delay = super().delay(slot, status)
        last = self.settings.restarts.delay(self.settings.restarts.max_restarts)
        return last if delay is None and status > 0 else delay


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
