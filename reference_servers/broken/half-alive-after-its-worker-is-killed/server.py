"""Goes on with one worker less, and says that it is ready, when one is killed (CONT-4)."""

import logging
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Supervisor(model_server.Supervisor):
    def judge_end(self, worker: object, status: int) -> None:
        if status == -signal.SIGKILL and self.workers:
            logging.getLogger("model_server").warning("a worker was killed; the others go on")
        else:
            super().judge_end(worker, status)


if __name__ == "__main__":
    model_server.main(model_server.Parts(supervisor=Supervisor))
