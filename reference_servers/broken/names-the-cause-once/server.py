"""Why a model cannot be loaded is in the log for the first attempt alone (WORK-7)."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def start_worker(self, slot: model_server.Slot) -> None:
        os.environ["FAILURES"] = str(slot.failures)
        super().start_worker(slot)


class Model(model_server.Model):
    @classmethod
    def load(cls, *, path: Path, seconds: float) -> model_server.Model:
        try:
            return super().load(path=path, seconds=seconds)
        except Exception as error:
            if int(os.environ.get("FAILURES", "0")) > 1:
                raise model_server.ModelError("cannot load the model, as before") from None
            raise error


if __name__ == "__main__":
    model_server.main(model_server.Parts(model=Model, supervisor=Supervisor))
