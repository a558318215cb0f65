"""Finishes its HTTP requests on the stop signal, and cuts the older half of its gRPC calls (DRAIN-12)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "conforming"))

import model_server
from model_server.grpc_service import GrpcService


class Grpc(GrpcService):
    def hurry(self) -> None:
        for call in list(self.calls)[: len(self.calls) // 2]:
            call.cut = True
            if call.task is not None:
                call.task.cancel()


class Server(model_server.Server):
    async def lame_duck(self) -> None:
        if self.reason == "SIGTERM":
            for service in self.services:
                if isinstance(service, Grpc):
                    service.hurry()
        await super().lame_duck()


if __name__ == "__main__":
    model_server.main(model_server.Parts(grpc=Grpc, server=Server))
