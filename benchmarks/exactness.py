"""Exactness: the ledger against the server's own count, over many kills of a loaded server.

    python benchmarks/exactness.py [--kills 100]

Each round starts a server, loads it (kept and new connections, open loop and held requests), kills it at a random
moment by SIGKILL or SIGTERM in turn, and compares the ledger with what the server wrote about each request into a
shared memory map, which survives SIGKILL. On SIGTERM the server drains: it stops listening, answers what it has read
with `Connection: close`, and exits.

The server writes for each request: how often it has read it completely, then 1 before it hands the answer to the
kernel, then 2 after. A kill between the last two leaves open whether the answer went out, so a request at 1 may be
answered or lost; everything else must agree. What does not is a difference, and the goal is that there is none:

* the ledger reconciles in itself, and Locust's own count agrees with it;
* no request was read more often than once (nothing was sent twice);
* every request that was read is in the ledger as sent;
* every request at 2 is in the ledger as answered rightly;
* every answer in the ledger is at 1 or 2;
* no request that the ledger calls refused, or never acknowledged by the target's kernel, was read.
"""

from __future__ import annotations

import argparse
import mmap
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from drainproof.load import ledger
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Expectation, Hold, Plan, Request, Steady

SLOTS = 1 << 16

SERVER = """
import asyncio, mmap, random, signal, sys

SLOTS = 1 << 16
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n%b\\r\\n%b"
file = open(sys.argv[1], "r+b")
memory = mmap.mmap(file.fileno(), 2 * SLOTS)
connections, working, draining = set(), set(), asyncio.Event()

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.data = transport, b""
        connections.add(self)
    def connection_lost(self, error):
        connections.discard(self)
        working.discard(self)
    def data_received(self, data):
        self.data += data
        head, separator, rest = self.data.partition(b"\\r\\n\\r\\n")
        if not separator or len(rest) < 17:
            return
        token, self.data = rest[:17], rest[17:]
        slot = int(token[-8:], 16)
        memory[slot] += 1
        working.add(self)
        asyncio.get_running_loop().call_later(random.expovariate(100), self.answer, token, slot)
    def answer(self, token, slot):
        if self.transport.is_closing():
            return
        memory[SLOTS + slot] = 1
        self.transport.write(ANSWER % (len(token), b"Connection: close\\r\\n" if draining.is_set() else b"", token))
        if self.transport.get_write_buffer_size() == 0:
            memory[SLOTS + slot] = 2
        working.discard(self)
        if draining.is_set():
            self.transport.close()

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0, backlog=512)
    loop.add_signal_handler(signal.SIGTERM, draining.set)
    print(server.sockets[0].getsockname()[1], flush=True)
    await draining.wait()
    server.close()
    for connection in connections - working:
        connection.transport.close()
    while connections:
        await asyncio.sleep(0.001)

asyncio.run(main())
"""


def one_kill(engine: LoadEngine, folder: Path, signum: signal.Signals, totals: Counter[str]) -> list[str]:
    """One round. Returns the differences, and adds to `totals`."""
    shared = folder / "count"
    shared.write_bytes(bytes(2 * SLOTS))
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(shared)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        request = Request(name="r", method="POST", path="/", body="{token}", expect=Expectation(contains="{token}"))
        plan = Plan(
            host="127.0.0.1",
            port=int(server.stdout.readline()),
            requests=(request,),
            streams=(
                Steady(name="kept", request="r", rate=300),
                Steady(name="new", request="r", rate=200, connections="new"),
                Hold(name="held", request="r", in_flight=8),
            ),
        )
        with engine.run(plan=plan, ledger=folder / "ledger") as run:
            run.wait_for(lambda p: p.streams["held"].right >= 8, until=time.monotonic() + 30)
            time.sleep(random.uniform(0, 0.3))
            server.send_signal(signum)
            server.wait(30)
            run.wait_for(lambda p: p.streams["kept"].failed > 0, until=time.monotonic() + 30)
            run.stop(grace=2)
    finally:
        server.kill()
        server.wait()
    read = ledger.read(folder / "ledger")
    (folder / "ledger").unlink()
    with shared.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        return read.problems() + differences(read, memory[:SLOTS], memory[SLOTS:], totals)


def differences(read: ledger.Ledger, seen: bytes, state: bytes, totals: Counter[str]) -> list[str]:
    """Compares by sets of ids what both sides say of each request."""
    sent = {r.id for r in read.requests if r.send_start is not None}
    right = {r.id for r in read.requests if r.right}
    unseen = {r.id for r in read.requests if r.cause == "refused" or r.acknowledged is False}
    accepted = {slot for slot, count in enumerate(seen) if count}
    answered = {slot for slot, value in enumerate(state) if value == 2}
    open_ended = {slot for slot, value in enumerate(state) if value == 1}
    totals.update(
        {
            "issued": len(read.requests),
            "read completely by the server": len(accepted),
            "answered, says the server": len(answered),
            "answered, says the ledger": len(right),
            "killed between the answer and its count": len(open_ended),
            "  of these answered": len(open_ended & right),
            "refused, or never acknowledged by the target's kernel": len(unseen),
        }
    )
    totals.update(f"lost: {r.phase} x {r.cause}" for r in read.requests if r.cause is not None)
    checks = {
        "read more than once": {slot for slot, count in enumerate(seen) if count > 1},
        "read, but not in the ledger as sent": accepted - sent,
        "answered, but not in the ledger": answered - right,
        "in the ledger as answered, but not answered": right - answered - open_ended,
        "read, though the ledger says that it never got there": accepted & unseen,
    }
    return [f"{text}: {sorted(found)}" for text, found in checks.items() if found]


def main() -> int:
    """Runs the rounds and prints the totals. Exit status 1 if there was any difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    kills = parser.parse_args().kills
    totals: Counter[str] = Counter()
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder, LoadEngine() as engine:
        for number in range(kills):
            signum = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            new = one_kill(engine, Path(folder), signum, totals)
            found += new
            for text in new:
                print(f"kill {number} by {signum.name}: {text}")
    for name, count in totals.items():
        print(f"{count:8,}  {name}")
    print(f"{kills} kills, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
