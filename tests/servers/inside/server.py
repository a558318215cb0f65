"""A tiny HTTP server whose handler, model, stop path and background task lie in a module of their own.

python server.py PORT [switch ...]
    answers-200      an exception in the handler is answered with 200
    dies-of-it       an exception in the handler ends the server
"""

from __future__ import annotations

import asyncio
import signal
import sys

import app

PORT, SWITCHES = int(sys.argv[1]), set(sys.argv[2:])
BUSY: set[asyncio.Task[None]] = set()
STOP = asyncio.Event()


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        while not STOP.is_set():
            head = await reader.readuntil(b"\r\n\r\n")
            BUSY.add(task)
            path = head.split(b" ")[1].decode()
            length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            status, answer = b"200 OK", b"ready"
            if path != "/ready":
                try:
                    answer = await MODEL.predict(body)
                except Exception:
                    if "dies-of-it" in SWITCHES:
                        STOP.set()
                    status, answer = b"500 Internal Server Error", b"failed"
                    if "answers-200" in SWITCHES:
                        status = b"200 OK"
            close = b"Connection: close\r\n" if STOP.is_set() else b""
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(answer), close, answer))
            await writer.drain()
            BUSY.discard(task)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        BUSY.discard(task)
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, STOP.set)
    background = loop.create_task(app.clean_up())
    server = await asyncio.start_server(exchange, "127.0.0.1", PORT)
    await STOP.wait()
    background.cancel()
    await app.stop(server)
    while BUSY:
        await asyncio.sleep(0.01)


MODEL = app.Model.load()
asyncio.run(main())
