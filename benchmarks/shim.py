"""What does the shim cost a target?

python benchmarks/shim.py [PYTHON]      default: this interpreter, which needs uvicorn

Without an armed fault: the start-up of an interpreter (wanted: less than 10 ms more of processor time), and processor
time per request of a server on uvicorn (wanted: nothing measurable, a ratio of 1 within the noise). With armed faults
that lie dormant: that time again, and nanoseconds per call of a function with a fail point. Runs with and
without the shim alternate, each figure is the median of the differences or ratios of neighbours, and processor time is
the kernel's count for the process measured, so that a busy machine blurs the figures and does not shift them.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drainproof.shim.session import FailPoint, ShimSession
from drainproof.target.ports import reserve

STARTS, BLOCKS, REQUESTS, CALLS = 60, 20, 400, 200_000

SERVER = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""

CALLED = """
import asyncio, json, sys, time
import called
def cost(function, calls):
    began = time.process_time()
    for _ in range(calls):
        function()
    return time.process_time() - began
async def awaits(function, calls):
    began = time.process_time()
    for _ in range(calls):
        await function()
    return time.process_time() - began
calls, names = int(sys.argv[1]), [name for name in vars(called) if name.startswith(("plain", "async"))]
rounds = {name: [] for name in names}
for _ in range(5):
    for name in names:
        function = getattr(called, name)
        rounds[name].append(asyncio.run(awaits(function, calls)) if name[0] == "a" else cost(function, calls))
print(json.dumps({name: min(each) / calls * 1e9 for name, each in rounds.items()}))
"""

FUNCTIONS = "\n".join(
    f"def plain_{state}(): pass\nasync def async_{state}(): pass" for state in ("bare", "counting", "waiting", "spent")
)


def session(folder: Path, *points: FailPoint) -> dict[str, str]:
    """An environment with the shim in it, in which `points` are armed."""
    made = ShimSession(folder=folder)
    for point in points:
        made.arm(point)
    made.install()
    return {**os.environ, **made.environment()}


def point(name: str, site: str, **when: Any) -> FailPoint:
    """A fail point that does not fire by itself."""
    return FailPoint(name=name, sites=(site,), exception="RuntimeError", message="fired", when=when)


def start_up(python: str, folder: Path) -> float:
    """Prints what an interpreter's start costs; milliseconds of processor time that the shim adds."""
    environments = [dict(os.environ), session(folder / "start")]
    subprocess.run([python, "-c", "pass"], env=environments[1], check=True)  # writes the .pyc files
    walls: list[list[float]] = [[], []]
    processors: list[list[float]] = [[], []]
    for number in range(2 * STARTS):
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.monotonic()
            process = subprocess.Popen([python, "-c", "pass"], env=environments[which])
            _, _, used = os.wait4(process.pid, 0)
            walls[which].append(1000 * (time.monotonic() - began))
            processors[which].append(1000 * (used.ru_utime + used.ru_stime))
            process.returncode = 0
    added = float("inf")
    for what, (without, within) in (("wall", walls), ("processor", processors)):
        added = statistics.median(b - a for a, b in zip(without, within, strict=True))
        ratio = statistics.median(b / a for a, b in zip(without, within, strict=True))
        print(
            f"start-up, {what} time:  +{added:.2f} ms, ratio {ratio:.3f} (without {statistics.median(without):.1f} ms)"
        )
    return added


@contextmanager
def serving(python: str, environment: dict[str, str], port: int) -> Iterator[tuple[int, socket.socket]]:
    """A server: its pid, and a connection to it."""
    process = subprocess.Popen([python, "-c", SERVER, str(port)], env=environment)
    try:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", port))
                break
            except ConnectionRefusedError:
                if process.poll() is not None:
                    raise
                time.sleep(0.05)  # between two attempts
        with connection:
            yield process.pid, connection
    finally:
        process.kill()
        process.wait()


def block(pid: int, connection: socket.socket) -> float:
    """Processor seconds of the server for a block of requests."""
    before = on_processor(pid)
    for _ in range(REQUESTS):
        connection.sendall(b"GET / HTTP/1.1\r\nhost: local\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            answer += connection.recv(4096)
    return on_processor(pid) - before


def on_processor(pid: int) -> float:
    """Seconds that the main thread of a process has run, as the scheduler counts them."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def requests(python: str, folder: Path) -> None:
    """Prints what a request costs."""
    command = {"command": True}
    environments = {
        "without the shim": dict(os.environ),
        "nothing armed": session(folder / "nothing"),
        "@handler, @rest and @main armed": session(
            folder / "armed", *(point(name, f"@{name}", **command) for name in ("handler", "rest", "main"))
        ),
    }
    with reserve(names=tuple(environments)) as ports:
        with serving(python, environments["without the shim"], ports["without the shim"]) as plain:
            for name in list(environments)[1:]:
                with serving(python, environments[name], ports[name]) as shimmed:
                    block(*plain), block(*shimmed)
                    pairs = [(block(*plain), block(*shimmed)) for _ in range(BLOCKS)]
                ratios = sorted(b / a for a, b in pairs)
                each = statistics.median(a for a, _ in pairs) / REQUESTS * 1e6
                quarter = len(ratios) // 4
                print(
                    f"request, {name}:  ratio {statistics.median(ratios):.3f} "
                    f"({ratios[quarter]:.3f} to {ratios[-quarter - 1]:.3f}; without {each:.0f} µs)"
                )


def calls(python: str, folder: Path) -> None:
    """Prints what a call of a function with a fail point costs."""
    code = folder / "code"
    code.mkdir()
    (code / "called.py").write_text(FUNCTIONS)
    (code / "main.py").write_text(CALLED)
    points = []
    for kind in ("plain", "async"):
        points.append(point(f"{kind}-counting", f"called:{kind}_counting", call=10**12))
        points.append(point(f"{kind}-waiting", f"called:{kind}_waiting", command=True))
        points.append(point(f"{kind}-spent", f"called:{kind}_spent", probability=1.0, seed=1))
    environment = session(folder / "calls", *points)
    for kind in ("plain", "async"):  # somebody else has taken the only shot
        (folder / "calls" / "claims" / f"{kind}-spent-1").touch()
    done = subprocess.run(
        [python, "main.py", str(CALLS)], cwd=code, env=environment, check=True, capture_output=True, text=True
    )
    costs = json.loads(done.stdout)
    for kind in ("plain", "async"):
        bare = costs.pop(f"{kind}_bare")
        for state in ("counting", "waiting", "spent"):
            more = costs[f"{kind}_{state}"] - bare
            print(f"call of {kind} function, fail point {state}:  +{more:.0f} ns (bare {bare:.0f} ns)")


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        added = start_up(python, Path(folder))
        requests(python, Path(folder))
        calls(python, Path(folder))
    return 0 if added < 10 else 1


if __name__ == "__main__":
    sys.exit(main())
