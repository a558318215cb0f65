"""Says that its delays double, and tries again after the first delay each time (WORK-4)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def delay(self, slot: model_server.Slot, status: int) -> float | None:
        return None if super().delay(slot, status) is None else self.settings.restarts.first_delay


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
