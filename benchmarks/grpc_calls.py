"""gRPC calls: what the ear on the wire costs, and whether the ledger is exact when a server is killed.

    python benchmarks/grpc_calls.py [--rounds 3] [--seconds 2] [--users 10] [--kills 20]

Costs: calls per second of the client's processor time, for each way to use connections, against grpcio with gevent
alone, which calls the same method and looks at nothing. Exactness: a server under load is killed again and again; each
token that it noted must be in the ledger once, and each answered one in its notes. Exit status 1 on a difference.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from drainproof.load import ledger as ledgers
from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Closed, Expectation, Plan, Request

SERVER = Path(__file__).parents[1] / "tests" / "load" / "grpc_server.py"
KINDS = ("new", "reuse", "shared")

PLAIN = """
from gevent import monkey; monkey.patch_all()
import gevent, grpc, json, sys, time
from grpc.experimental import gevent as grpc_gevent
grpc_gevent.init_gevent()
gevent.get_hub().threadpool.maxsize = 1000
port, users, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
call, count, before = channel.unary_unary("/test.Service/Echo"), 0, time.process_time()
until = time.monotonic() + seconds
def user():
    global count
    while time.monotonic() < until:
        call(b"token 0")
        count += 1
gevent.joinall([gevent.spawn(user) for _ in range(users)])
print(json.dumps(count / (time.process_time() - before)), flush=True)
"""


class Server:
    """tests/load/grpc_server.py in a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.notes = folder / f"tokens-{time.monotonic_ns()}"
        command = [sys.executable, str(SERVER), str(port), "1", str(self.notes)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def plan(port: int, users: int, *kinds: str) -> Plan:
    request = Request(
        name="echo",
        method="gRPC",
        path="/test.Service/Echo",
        protocol="grpc",
        port="grpc",
        body=base64.b64encode(b"{token} 0").decode(),
        expect=Expectation(status=(0,), contains="{token}"),
    )
    streams = tuple(Closed(name=kind, request="echo", users=users, connections=kind) for kind in kinds)
    return Plan(host="127.0.0.1", port=1, ports={"grpc": port}, requests=(request,), streams=streams)


def rate(engine: LoadEngine, folder: Path, *, port: int, users: int, seconds: float, kind: str) -> float:
    """Calls per second of the engine's processor time."""
    with engine.run(plan=plan(port, users, kind), ledger=folder / f"{kind}-{time.monotonic_ns()}") as run:
        time.sleep(seconds)
        run.stop(grace=5)
        assert run.summary is not None and run.progress().streams[kind].right == run.summary.issued > 0
        return run.summary.issued / run.summary.cpu_seconds


def killed(engine: LoadEngine, port: int, users: int, folder: Path) -> tuple[int, int, Counter[str]]:
    """How many calls there were, how many do not agree with the server's notes, and how they ended."""
    server = Server(folder, port)
    path = folder / f"killed-{time.monotonic_ns()}"
    with engine.run(plan=plan(port, users, *KINDS), ledger=path) as run:
        time.sleep(0.5)
        server.kill()
        time.sleep(0.2)
        run.stop(grace=2)
    records, noted = ledgers.read(path).requests, Counter(server.notes.read_text().split())
    issued = Counter(r.token for r in records)
    wrong = [token for token, count in noted.items() if count != 1 or issued[token] != 1]
    wrong += [
        r.token for r in records if (r.answered and not noted[r.token]) or (r.send_start is None and noted[r.token])
    ]
    ends = Counter(f"{r.phase} x {r.cause}" if r.cause else "answered" for r in records)
    return len(records), len(wrong), ends


def main() -> int:
    """Runs the rounds and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--users", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--port", type=int, default=28033)
    given = parser.parse_args()
    users, seconds, port = given.users, given.seconds, given.port
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as name, LoadEngine() as engine:
        folder = Path(name)
        server = Server(folder, port)
        for number in range(1, given.rounds + 1):
            command = [sys.executable, "-c", PLAIN, str(port), str(users), str(seconds)]
            plain = float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            rates = {kind: rate(engine, folder, port=port, users=users, seconds=seconds, kind=kind) for kind in KINDS}
            for kind in KINDS:
                ratios[kind].append(rates[kind] / plain)
            shown = ", ".join(f"{kind} {each:,.0f}" for kind, each in rates.items())
            print(f"round {number}: calls per CPU second: {shown}; grpcio alone, one channel {plain:,.0f}")
        server.kill()
        calls = differences = 0
        ends: Counter[str] = Counter()
        for _ in range(given.kills):
            count, wrong, how = killed(engine, port, users, folder)
            calls, differences, ends = calls + count, differences + wrong, ends + how
    print("median share of grpcio alone: " + ", ".join(f"{k} {statistics.median(v):.2f}" for k, v in ratios.items()))
    print(f"{given.kills} kills, {calls:,} calls, {differences} that do not agree with the server's notes")
    print("ends: " + ", ".join(f"{how} {count}" for how, count in ends.most_common()))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
