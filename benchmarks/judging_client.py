"""Requests per CPU second: the judging client inside Locust against Locust's own FastHttpUser, wrk and hey.

    python benchmarks/judging_client.py [--rounds 5] [--seconds 2] [--users 10]

All clients ask the same local server in turn, round after round, so that whatever else the machine does hits all of
them; what counts is the ratio within a round, and the median of the rounds. Processor time is that of the client's
process alone. wrk and hey do not judge, write no ledger and are not Python; they are here as a measure of the distance.
Exit status 1 if the median ratio to FastHttpUser is below the goal.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drainproof.load.driver import LoadEngine
from drainproof.load.plan import Closed, Expectation, Plan, Request

GOAL = 2.5

SERVER = """
import asyncio, sys

ANSWER = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 11\\r\\n\\r\\n{"ok":true}'

class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))

async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

FAST_HTTP_USER = """
import sys, time, json
import gevent
from locust import FastHttpUser, constant, task
from locust.env import Environment

port, users, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])

class Fast(FastHttpUser):
    host = f"http://127.0.0.1:{port}"
    wait_time = constant(0)
    @task
    def get(self):
        self.client.get("/")

environment = Environment(user_classes=[Fast])
runner = environment.create_local_runner()
before = time.process_time()
runner.start(users, spawn_rate=users)
gevent.sleep(seconds)
cpu, total = time.process_time() - before, environment.stats.total
print(json.dumps({"requests": total.num_requests, "failures": total.num_failures, "cpu": cpu}), flush=True)
runner.quit()
"""


def judging_client(engine: LoadEngine, port: int, users: int, seconds: float, folder: Path) -> float:
    """Our client, as a scenario uses it: one attempt, judged by status and body, and written to a ledger."""
    request = Request(name="get", method="GET", path="/", expect=Expectation(contains='"ok":true'))
    plan = Plan(
        host="127.0.0.1",
        port=port,
        requests=(request,),
        streams=(Closed(name="users", request="get", users=users),),
    )
    ledger = folder / f"ledger-{time.monotonic_ns()}.jsonl"
    with engine.run(plan=plan, ledger=ledger) as run:
        time.sleep(seconds)
        run.stop(grace=5)
        progress = run.progress().streams["users"]
    assert run.summary is not None and progress.right == run.summary.issued > 0, (progress, run.summary)
    ledger.unlink()
    return run.summary.issued / run.summary.cpu_seconds


def fast_http_user(port: int, users: int, seconds: float) -> float:
    """Locust's faster client, in the shortest locustfile."""
    arguments = [sys.executable, "-c", FAST_HTTP_USER, str(port), str(users), str(seconds)]
    result = json.loads(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)
    assert result["failures"] == 0
    return float(result["requests"] / result["cpu"])


def native(arguments: list[str], count: str) -> float:
    """A tool of another kind; `count` is the pattern that finds the number of requests in its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sum(int(found) for found in re.findall(count, output)) / cpu


def main() -> int:
    """Runs the rounds and prints them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--users", type=int, default=10)
    given = parser.parse_args()
    users, seconds = given.users, given.seconds
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    rates: dict[str, list[float]] = {}
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        url, duration = f"http://127.0.0.1:{port}/", f"{max(round(seconds), 1)}s"
        tools = {
            "wrk": (["wrk", "-t1", f"-c{users}", f"-d{duration}", url], r"(\d+) requests in"),
            "hey": (["hey", "-c", str(users), "-z", duration, url], r"\[200\]\s+(\d+) responses"),
        }
        for name in [name for name in tools if shutil.which(name) is None]:
            print(f"{name} is not installed and is left out (Debian has it: apt-get install {name})")
            del tools[name]
        with tempfile.TemporaryDirectory() as folder, LoadEngine() as engine:
            for number in range(1, given.rounds + 1):
                row = {
                    "judging client": judging_client(engine, port, users, seconds, Path(folder)),
                    "FastHttpUser": fast_http_user(port, users, seconds),
                } | {name: native(*tool) for name, tool in tools.items()}
                for name, rate in row.items():
                    rates.setdefault(name, []).append(rate)
                print(f"round {number}: " + ", ".join(f"{name} {rate:,.0f}/CPU s" for name, rate in row.items()))
    finally:
        server.terminate()
        server.wait()
    ours = rates.pop("judging client")
    ratios = {
        name: statistics.median(a / b for a, b in zip(ours, theirs, strict=True)) for name, theirs in rates.items()
    }
    print("median ratio of the judging client to " + ", ".join(f"{name}: {r:.2f}" for name, r in ratios.items()))
    print(f"goal: at least {GOAL} x FastHttpUser: {'reached' if ratios['FastHttpUser'] >= GOAL else 'MISSED'}")
    return 0 if ratios["FastHttpUser"] >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
