"""A real grpc.aio server: python grpc_server.py PORT GRACE FILE. Notes each call's token in FILE before it begins.

The request is text: `Echo` "TOKEN SECONDS", `Count` "TOKEN COUNT MILLISECONDS", `Busy` "TOKEN" (UNAVAILABLE).
SIGTERM stops it with GRACE seconds; SIGUSR1 stops it with none.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc


class Service(grpc.GenericRpcHandler):
    def __init__(self, file: int) -> None:
        self.file = file

    def service(self, details: Any) -> Any:
        return {
            "/test.Service/Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/test.Service/Busy": grpc.unary_unary_rpc_method_handler(self.busy),
            "/test.Service/Count": grpc.unary_stream_rpc_method_handler(self.count),
        }.get(details.method)

    def note(self, token: bytes) -> None:
        os.write(self.file, token + b"\n")

    async def echo(self, request: bytes, _: Any) -> bytes:
        token, seconds = request.split()
        self.note(token)
        await asyncio.sleep(float(seconds))
        return request

    async def busy(self, request: bytes, context: Any) -> bytes:
        self.note(request)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return b""

    async def count(self, request: bytes, _: Any) -> AsyncIterator[bytes]:
        token, count, milliseconds = request.split()
        self.note(token)
        for number in range(int(count)):
            await asyncio.sleep(int(milliseconds) / 1000)
            yield b"%s %d" % (token, number)


async def main(port: str, grace: str, file: str) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Service(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    loop, stop = asyncio.get_running_loop(), asyncio.Queue[float]()
    loop.add_signal_handler(signal.SIGTERM, stop.put_nowait, float(grace))
    loop.add_signal_handler(signal.SIGUSR1, stop.put_nowait, 0.0)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    await server.stop(await stop.get())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
