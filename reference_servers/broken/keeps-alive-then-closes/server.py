"""Its answers promise to keep the connection, which the draining server then closes behind them (DRAIN-3)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class Application(model_server.Application):
    takes_leave = False


class Connection(model_server.Connection):
    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.app.draining:
            self.close_unless_something_came()


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, connection=Connection))
