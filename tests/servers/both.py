"""A small server with HTTP and gRPC for tests: python both.py PORT GRPC_PORT [switch ...]

    cut-grpc       gRPC is stopped without any time for its calls
    cut-streams    streams in progress are ended early, each by its protocol's own end
    tear-streams   HTTP streams in progress are broken off
    grpc-last      turns new calls away, and closes the gRPC port when all others have been answered
    no-grpc        the gRPC port is never opened

HTTP: POST /predict with the seconds as text; GET /stream in ten chunks over a second, the last one "end". gRPC as in
tests/load/grpc_server.py: `Echo` "TOKEN SECONDS", `Count` "TOKEN COUNT MILLISECONDS".
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc

PORT, GRPC_PORT, SWITCHES = sys.argv[1], sys.argv[2], set(sys.argv[3:])
STOP = asyncio.Event()
BUSY: set[Any] = set()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    BUSY.add(writer)
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        length = next((int(h.split(":")[1]) for h in head.split("\r\n") if h.lower().startswith("content-length")), 0)
        body = (await reader.readexactly(length)).decode()
        if path.startswith("/stream"):
            await stream(writer)
        else:
            if path == "/predict":
                await asyncio.sleep(float(body.split()[1]))
            status = "503 Not Ready" if path == "/ready" and STOP.is_set() else "200 OK"
            text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
            writer.write(text.encode())
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()
        BUSY.discard(writer)


async def stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    for number in range(10):
        await asyncio.sleep(0.1)
        if STOP.is_set() and "tear-streams" in SWITCHES:
            writer.write(b"6\r\npie")
            return
        if STOP.is_set() and "cut-streams" in SWITCHES:
            break
        writer.write(b"3\r\nend\r\n" if number == 9 else b"6\r\npiece\n\r\n")
    writer.write(b"0\r\n\r\n")


class Service(grpc.GenericRpcHandler):
    def service(self, details: Any) -> Any:
        if details.method.endswith("/Count"):
            return grpc.unary_stream_rpc_method_handler(self.count)
        return grpc.unary_unary_rpc_method_handler(self.echo)

    async def echo(self, request: bytes, context: Any) -> bytes:
        if STOP.is_set() and "grpc-last" in SWITCHES:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
        await asyncio.sleep(float(request.split()[1]))
        return request

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        token, count, milliseconds = request.split()
        for number in range(int(count)):
            await asyncio.sleep(int(milliseconds) / 1000)
            if STOP.is_set() and "cut-streams" in SWITCHES:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")
            yield b"%s %d" % (token, number)


async def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, STOP.set)
    calls = grpc.aio.server()
    calls.add_generic_rpc_handlers((Service(),))
    if "no-grpc" not in SWITCHES:
        calls.add_insecure_port(f"127.0.0.1:{GRPC_PORT}")
        await calls.start()
    server = await asyncio.start_server(http, "127.0.0.1", int(PORT))
    await STOP.wait()
    server.close()
    if "grpc-last" in SWITCHES:
        await asyncio.sleep(1.5)
    await calls.stop(0 if "cut-grpc" in SWITCHES else 5)
    while BUSY:
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main())
