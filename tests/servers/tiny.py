"""A tiny HTTP server for tests: standard library only, with switches for every way to misbehave.

python tiny.py PORT [switch ...]
    ignore-sigterm   SIGTERM is ignored
    not-ready        /ready is 503 for ever
    wrong            answers lack the token
    exit-0           ends at once with status 0
    exit-3           ends at once with status 3, after a line on stderr
    exit-under-load  ends with status 7 at its fifth prediction
    kill-keeper      kills the process that has started it at its fifth prediction

GET /quit stops it as SIGTERM does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys

PORT, SWITCHES = int(sys.argv[1]), set(sys.argv[2:])
IN_FLIGHT: set[asyncio.Task[None]] = set()
STOP = asyncio.Event()
PREDICTIONS = itertools.count(1)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    task = asyncio.current_task()
    assert task is not None
    try:
        while not STOP.is_set():
            head = await reader.readuntil(b"\r\n\r\n")
            IN_FLIGHT.add(task)
            path = head.split(b" ")[1].decode()
            if path == "/quit":
                STOP.set()
            length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
            body = json.loads(await reader.readexactly(length)) if length else {}
            if body and next(PREDICTIONS) == 5:
                if "exit-under-load" in SWITCHES:
                    os._exit(7)
                if "kill-keeper" in SWITCHES:
                    os.kill(os.getppid(), signal.SIGKILL)
            await asyncio.sleep(body.get("seconds", 0))
            token = "" if "wrong" in SWITCHES else body.get("token", "")
            status = "503 Unavailable" if path == "/ready" and "not-ready" in SWITCHES else "200 OK"
            close = "Connection: close\r\n" if STOP.is_set() else ""
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(token)}\r\n{close}\r\n{token}".encode())
            await writer.drain()
            IN_FLIGHT.discard(task)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        IN_FLIGHT.discard(task)
        writer.close()


async def main() -> None:
    loop = asyncio.get_running_loop()
    if "ignore-sigterm" in SWITCHES:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        loop.add_signal_handler(signal.SIGTERM, STOP.set)
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    await STOP.wait()
    server.close()
    while IN_FLIGHT:
        await asyncio.sleep(0.01)


if "exit-0" in SWITCHES:
    sys.exit(0)
if "exit-3" in SWITCHES:
    sys.stderr.write("no such model: llama\n")
    sys.exit(3)
asyncio.run(main())
