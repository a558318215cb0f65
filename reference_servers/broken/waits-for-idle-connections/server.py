"""Waits until its clients close their idle keep-alive connections (DRAIN-4)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server


class HttpService(model_server.HttpService):
    def may_be_closed(self, connection: model_server.Connection) -> bool:
        return super().may_be_closed(connection) and connection.answered == 0


if __name__ == "__main__":
    model_server.main(model_server.Parts(http=HttpService))
