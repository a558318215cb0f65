"""Turns requests away when it is short of CPU time, and goes on with that when it is not (CONT-4)."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server

ACCOUNTS = [Path("/sys/fs/cgroup/cpu/cpu.stat"), Path("/sys/fs/cgroup/cpu.stat")]
"""Where the kernel says how often it has held the container back, in versions 1 and 2 of control groups."""


def throttled() -> bool:
    for account in ACCOUNTS:
        if account.exists():
            counts = dict(line.split() for line in account.read_text().splitlines())
            return counts.get("nr_throttled", "0") != "0"
    return False


class Application(model_server.Application):
    short = False

    async def predict(self, exchange: model_server.Exchange) -> None:
        if self.short:
            await exchange.answer(503, {"error": "short of CPU time"})
        else:
            await super().predict(exchange)


class Server(model_server.Server):
    async def until_told(self) -> None:
        while not self.should_exit:
            self.application.short = self.application.short or throttled()
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    model_server.main(model_server.Parts(application=Application, server=Server))
