"""A server whose main process owns the clients' connections and hands requests to worker processes, one at a time each.

python front.py PORT [switch ...]        what a supervisor may do well or badly, for tests
    workers=N      (1)
    first=SECONDS  (0.3) the first delay; doubled with each failure in a row
    limit=N        (3) restarts
    seconds=N      no restart after a failure that comes later than so long after the first one
    fibonacci      delays of 1, 1, 2, 3, 5 times the first one
    constant       the same delay each time
    hangs          nobody answers what was on a dead worker, or comes while there is none
    always-ready   /ready is 200 whatever happens
    at-most-once   without it, what was on a dead worker is handed to the next one
    hidden         /workers says nothing of the settings
    bad-model      workers fail at load: from the first start on
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

SWITCHES = sys.argv[2:]
VALUES = dict(each.split("=") for each in SWITCHES if "=" in each)
FIRST, LIMIT, COUNT = float(VALUES.get("first", 0.3)), int(VALUES.get("limit", 3)), int(VALUES.get("workers", 1))
SECONDS = float(VALUES.get("seconds", "inf"))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def work() -> None:
    """A worker: requests come in and answers go out as lines."""
    if "bad-model" in SWITCHES:
        raise ImportError("no module named weights")
    say("up")
    for line in sys.stdin:
        request = json.loads(line)
        sys.stderr.write(f"ran {request['token']}\n")
        time.sleep(request.get("seconds", 0))
        say(json.dumps({"token": request["token"], "pid": os.getpid()}))


class Place:
    """One worker's place, and the one that is in it."""

    def __init__(self) -> None:
        self.up = False
        self.failures = 0
        self.first_failure = 0.0

    def delay(self) -> float:
        if "constant" in SWITCHES:
            return FIRST
        if "fibonacci" in SWITCHES:
            before, this = 0, 1
            for _ in range(self.failures - 1):
                before, this = this, before + this
            return FIRST * this
        return FIRST * 2 ** (self.failures - 1)

    async def run(self, queue: asyncio.Queue[tuple[dict, asyncio.Future]]) -> None:
        while True:
            command = [sys.executable, __file__, "worker", *SWITCHES]
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
            if await process.stdout.readline():
                self.up, self.failures = True, 0
                await self.serve(process, queue)
            self.up = False
            await process.wait()
            self.failures += 1
            self.first_failure = time.monotonic() if self.failures == 1 else self.first_failure
            if self.failures > LIMIT or time.monotonic() - self.first_failure > SECONDS:
                return
            await asyncio.sleep(self.delay())

    async def serve(self, process: asyncio.subprocess.Process, queue: asyncio.Queue) -> None:
        while True:
            waiting = asyncio.create_task(queue.get())
            ended = asyncio.create_task(process.wait())
            await asyncio.wait([waiting, ended], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                return
            ended.cancel()
            request, answer = waiting.result()
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
            except ConnectionError:
                line = b""
            if line and not answer.done():
                answer.set_result((200, json.loads(line)))
            elif not line and "hangs" not in SWITCHES:
                if "at-most-once" in SWITCHES:
                    answer.set_result((500, {"error": "the worker died"}))
                else:
                    queue.put_nowait((request, answer))
            if not line:
                return


async def main() -> None:
    queue: asyncio.Queue = asyncio.Queue()
    places = [Place() for _ in range(COUNT)]
    tasks = [asyncio.create_task(place.run(queue)) for place in places]

    async def answer(path: str, body: dict) -> tuple[int, dict]:
        up = any(place.up for place in places)
        if path == "/ready":
            return (200 if up or "always-ready" in SWITCHES else 503), {}
        if path == "/workers":
            settings = {} if "hidden" in SWITCHES else {"limit": LIMIT}
            return 200, {**settings, "states": ["up" if place.up else "down" for place in places]}
        if not up and "hangs" not in SWITCHES:
            return 503, {"error": "no worker"}
        future: asyncio.Future = asyncio.get_running_loop().create_future()
        queue.put_nowait((body, future))
        return await future

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(h[15:]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
                body = json.loads(await reader.readexactly(length)) if length else {}
                status, value = await answer(head.split(b" ")[1].decode(), body)
                text = json.dumps(value).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await asyncio.start_server(client, "127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(*tasks)
    await asyncio.Event().wait()


if sys.argv[1] == "worker":
    work()
else:
    asyncio.run(main())
