"""A small HTTP server with defects towards bad clients: `python bad_clients_server.py PORT [defect …]`.

POST / with `{"token": …}` is answered with the token after 10 ms. It listens until it is killed.

    500-to-x80       answers 500 to a body with the byte 80
    silent-to-nul    never answers a body with a NUL, and never closes
    200-to-all       answers 200 without the token to what is no JSON
    dies-of-bytes    ends with status 9 when a body has a byte from 80 on
    keeps-files      opens a file for each connection, and closes it only after a complete request
    keeps-memory     keeps 200 kB for each connection that ended without a complete request
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys

PORT, DEFECTS = int(sys.argv[1]), set(sys.argv[2:])
KEPT: list[object] = []


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    kept: object = None
    if "keeps-files" in DEFECTS:
        kept = os.open(__file__, os.O_RDONLY)  # without a buffer: nothing but a descriptor is kept
    if "keeps-memory" in DEFECTS:
        kept = bytearray(os.urandom(1)) * 200_000
    KEPT.append(kept)
    try:
        while await exchange(reader, writer):
            pass
        KEPT.remove(kept)
        if isinstance(kept, int):
            os.close(kept)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        pass
    finally:
        writer.close()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    method, _, rest = head.partition(b" ")
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:-2]]
    lengths = [value.strip() for name, _, value in fields if name.lower() == b"content-length"]
    if method == b"GET":
        return await answer(writer, 200, b"", closes=b"close" in head)
    if method != b"POST" or not rest.endswith(b"\r\n") or b" HTTP/1.1\r\n" not in head or b"\x00" in head:
        return await answer(writer, 400, b"", closes=True)
    if (
        len(lengths) != 1
        or not lengths[0].isdigit()
        or any(name != name.strip() or not colon for name, colon, _ in fields)
    ):
        return await answer(writer, 400, b"", closes=True)
    body = await reader.readexactly(int(lengths[0]))
    if b"\x80" in body and "500-to-x80" in DEFECTS:
        return await answer(writer, 500, b"", closes=True)
    if "dies-of-bytes" in DEFECTS and not body.isascii():
        os._exit(9)
    if b"\x00" in body and "silent-to-nul" in DEFECTS:
        await asyncio.sleep(3600)
    try:
        token = json.loads(body)["token"].encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return await answer(writer, 200 if "200-to-all" in DEFECTS else 400, b"{}", closes=True)
    await asyncio.sleep(0.01)
    return await answer(writer, 200, token, closes=b"connection: close" in head.lower())


async def answer(writer: asyncio.StreamWriter, status: int, body: bytes, *, closes: bool) -> bool:
    close = b"connection: close\r\n" if closes else b""
    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(body), close, body))
    await writer.drain()
    return not closes


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", PORT, limit=2**20)
    async with server:
        await server.serve_forever()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
