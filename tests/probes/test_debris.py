"""Debris: what real interpreters print, what healthy servers print, and how streams mangle it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drainproof.probes.debris import Debris, find_debris

PENDING = """
import asyncio, gc, logging, sys
{setup}
async def work():
    await asyncio.get_running_loop().create_future()
async def main():
    task = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    task = None
    gc.collect()
loop = asyncio.new_event_loop()
loop.set_debug({debug})
loop.slow_callback_duration = 1e9  # a slow machine is not what is looked for
loop.run_until_complete(main())
loop.close()
gc.collect()
"""

PROGRAMS = {
    "exception ignored": """
import asyncio
class Server:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
    def __del__(self):
        self.loop.call_soon(print)
server = Server()
server.loop.close()
del server
""",
    "exception ignored, chained": """
class Server:
    def __del__(self):
        try:
            {}["a"]
        except KeyError:
            raise RuntimeError("Event loop is closed")
del [Server()][0]
""",
    "exception ignored, no traceback": """
async def work():
    try:
        await wait()
    finally:
        await wait()
class wait:
    def __await__(self):
        yield
coroutine = work()
coroutine.send(None)
del coroutine
""",
    "exception ignored, group": """
class Server:
    def __del__(self):
        raise ExceptionGroup("two", [ValueError(1), ValueError(2)])
if sys.version_info < (3, 11):
    raise SystemExit
del [Server()][0]
""".replace("\nclass", "\nimport sys\nclass", 1),
    "never awaited": """
class AioServer:
    async def shutdown(self):
        pass
def stop():
    AioServer().shutdown()
stop()
""",
    "never awaited, with its origin": """
import sys
sys.set_coroutine_origin_tracking_depth(3)
async def shutdown():
    pass
shutdown()
""",
    "never awaited, at the very end": """
import gc
gc.disable()
async def shutdown():
    pass
class Cycle:
    pass
cycle = Cycle()
cycle.own, cycle.coroutine = cycle, shutdown()
""",
    "never awaited, logged": """
import logging
logging.basicConfig()
logging.captureWarnings(True)
async def shutdown():
    pass
shutdown()
""",
    "pending": PENDING.format(setup="", debug=False),
    "pending, debug": PENDING.format(setup="", debug=True),
    "pending, logged": PENDING.format(setup="logging.basicConfig()", debug=False),
    "pending, formatted": PENDING.format(
        setup="logging.basicConfig(format='%(asctime)s [%(levelname)s] %(name)s: %(message)s')", debug=False
    ),
    "task exception": """
import asyncio, gc
async def work():
    raise ValueError("no model")
async def main():
    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.01)
asyncio.new_event_loop().run_until_complete(main())
gc.collect()
""",
    "future exception": """
import asyncio, gc
async def main():
    asyncio.get_running_loop().create_future().set_exception(OSError(98, "in use"))
asyncio.new_event_loop().run_until_complete(main())
gc.collect()
""",
    "loop closed": """
import asyncio
loop = asyncio.new_event_loop()
loop.close()
loop.call_soon(print)
""",
    "healthy": """
import logging, traceback, warnings
logging.basicConfig()
logging.getLogger("uvicorn.error").error("Exception in ASGI application")
try:
    raise KeyError("no such model")
except KeyError:
    logging.exception("the request failed")
    traceback.print_exc()
    logging.error("failed: %s", traceback.format_exc())
warnings.warn("coroutine 'x' was never awaited")
warnings.warn("resource_tracker: There appear to be 1 leaked semaphore objects", ResourceWarning)
""",
}


def lines(text: str, stream: str = "stderr") -> list[dict[str, object]]:
    return [{"t": float(n), "stream": stream, "text": line} for n, line in enumerate(text.splitlines())]


def found(text: str) -> list[Debris]:
    return find_debris(lines(text))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What each program prints under the Python that runs this test."""

    def run(program: tuple[int, str]) -> str:
        path = folder / f"program{program[0]}.py"
        path.write_text(program[1])
        return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=60, check=False).stderr

    folder = tmp_path_factory.mktemp("programs")
    with ThreadPoolExecutor(4) as pool:
        yield dict(zip(PROGRAMS, pool.map(run, enumerate(PROGRAMS.values())), strict=True))


@pytest.mark.parametrize(
    ("program", "kind", "first", "last"),
    [
        ("exception ignored", "exception_ignored", "Server.__del__", "RuntimeError: Event loop is closed"),
        ("exception ignored, chained", "exception_ignored", "Server.__del__", "RuntimeError: Event loop is closed"),
        ("exception ignored, no traceback", "exception_ignored", "<coroutine", "coroutine ignored GeneratorExit"),
        ("never awaited", "never_awaited", "'AioServer.shutdown' was never awaited", "Enable tracemalloc"),
        ("never awaited, with its origin", "never_awaited", "'shutdown' was never awaited", "Enable tracemalloc"),
        ("never awaited, at the very end", "never_awaited", "sys", "was never awaited"),
        ("never awaited, logged", "never_awaited", "WARNING:py.warnings:", "shutdown()"),
        ("pending", "task_destroyed", "Task was destroyed but it is pending!", "task: <Task pending"),
        ("pending, debug", "task_destroyed", "Task was destroyed but it is pending!", "task: <Task pending"),
        ("pending, logged", "task_destroyed", "ERROR:asyncio:Task was destroyed", "task: <Task pending"),
        ("pending, formatted", "task_destroyed", "[ERROR] asyncio: Task was destroyed", "task: <Task pending"),
        ("task exception", "never_retrieved", "Task exception was never", "ValueError: no model"),
        ("future exception", "never_retrieved", "Future exception was never", "OSError: [Errno 98] in use"),
        ("loop closed", "loop_closed", "Traceback", "RuntimeError: Event loop is closed"),
    ],
)
def test_what_this_python_prints(printed: dict[str, str], program: str, kind: str, first: str, last: str) -> None:
    text = printed[program]
    (debris,) = found(text)
    assert debris.kind == kind
    assert first in debris.lines[0]
    assert last in debris.lines[-1]
    # Blank lines between chained exceptions apart, the signature is everything that was printed.
    assert list(debris.lines) == [line for line in text.splitlines() if line]


@pytest.mark.parametrize(
    ("program", "headline"),
    [
        ("never awaited", "RuntimeWarning: coroutine 'AioServer.shutdown' was never awaited"),
        ("pending", "Task was destroyed but it is pending!"),
        ("loop closed", "RuntimeError: Event loop is closed"),
    ],
)
def test_one_line_that_says_it(printed: dict[str, str], program: str, headline: str) -> None:
    (debris,) = found(printed[program])
    assert debris.headline == headline


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_an_exception_group(printed: dict[str, str]) -> None:
    debris = found(printed["exception ignored, group"])
    assert [one.kind for one in debris] == ["exception_ignored"]


def test_a_healthy_server_has_none(printed: dict[str, str]) -> None:
    assert len(printed["healthy"].splitlines()) > 15
    assert found(printed["healthy"]) == []


RECORDED = {
    "3.8, two lines of one shutdown": (
        """\
Exception ignored in: <function Server.__del__ at 0x7f64ec9aff70>
Traceback (most recent call last):
  File "/usr/lib/python3.8/site-packages/grpc/aio/_server.py", line 194, in __del__
    cygrpc.schedule_coro_threadsafe(
  File "src/python/grpcio/grpc/_cython/_cygrpc/aio/common.pyx.pxi", line 120, in grpc._cython.cygrpc.schedule
  File "/usr/lib/python3.8/asyncio/base_events.py", line 508, in _check_closed
    raise RuntimeError('Event loop is closed')
RuntimeError: Event loop is closed
sys:1: RuntimeWarning: coroutine 'AioServer.shutdown' was never awaited
""",
        ["exception_ignored", "never_awaited"],
    ),
    "3.10, atexit": (
        """\
Exception ignored in atexit callback: <function <lambda> at 0x7f2>
Traceback (most recent call last):
  File "threadexc.py", line 3, in <lambda>
    import atexit; atexit.register(lambda: 1/0)
ZeroDivisionError: division by zero
""",
        ["exception_ignored"],
    ),
    "3.13, atexit and the end": (
        """\
Exception ignored in atexit callback <function <lambda> at 0x7f92bb5b32e0>:
Traceback (most recent call last):
  File "/srv/app.py", line 3, in <lambda>
    import atexit; atexit.register(lambda: 1/0)
                                           ~^~
ZeroDivisionError: division by zero
<sys>:0: RuntimeWarning: coroutine 'AioServer.shutdown' was never awaited
""",
        ["exception_ignored", "never_awaited"],
    ),
    "3.14, deallocator": (
        """\
Exception ignored while calling deallocator <function Server.__del__ at 0x7f92bb5b32e0>:
Traceback (most recent call last):
  File "/srv/app.py", line 3, in __del__
    raise RuntimeError('Event loop is closed')
RuntimeError: Event loop is closed
""",
        ["exception_ignored"],
    ),
    "3.12, a gathering future": (
        """\
_GatheringFuture exception was never retrieved
future: <_GatheringFuture finished exception=ValueError('no model 1')>
Traceback (most recent call last):
  File "/srv/gather.py", line 3, in boom
    await asyncio.sleep(0.01*n); raise ValueError("no model %d"%n)
                                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
ValueError: no model 1
""",
        ["never_retrieved"],
    ),
    "3.9, a task that failed on a closed loop is one finding": (
        """\
Task exception was never retrieved
future: <Task finished name='Task-2' coro=<boom() done, defined at taskexc.py:2> exception=RuntimeError('Event loop …')>
Traceback (most recent call last):
  File "taskexc.py", line 2, in boom
    raise RuntimeError('Event loop is closed')
RuntimeError: Event loop is closed
INFO:     Finished server process [1]
""",
        ["never_retrieved"],
    ),
    "Cython": ("Exception ignored in: 'grpc._cython.cygrpc.unref'\nAttributeError: no loop\n", ["exception_ignored"]),
    "a log handler with columns": (
        """\
[12:00:00] ERROR    Task was destroyed but it is pending!           base_events.py:1758
                    task: <Task pending name='Task-2' coro=<work()
                    running at app.py:3>>
""",
        ["task_destroyed"],
    ),
    "colours": (
        "\x1b[31mERROR\x1b[0m Task was destroyed but it is pending!\x1b[0m\ntask: <Task pending>",
        ["task_destroyed"],
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_other_pythons_print(name: str) -> None:
    text, kinds = RECORDED[name]
    assert [debris.kind for debris in found(text)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        "INFO: fixed the message \"coroutine 'x' was never awaited\"",
        "INFO: we have seen x.py:4: RuntimeWarning: coroutine 'x' was never awaited\n  x()",
        "INFO: \"sys:1: RuntimeWarning: coroutine 'x' was never awaited\"",
        "x.py:3: UserWarning: coroutine 'x' was never awaited",
        "sys:1: RuntimeWarning: coroutine 'x' was never awaited, said the other server",
        "INFO: retrying after 'Task was destroyed but it is pending!'\ntask: <Task pending>",
        "ERROR: Task was destroyed but it is pending!\nINFO: next",
        "INFO: Event loop is closed",
        "ERROR: RuntimeError: Event loop is closed",
        "RuntimeError: Event loop is closed",
        "Task exception was never retrieved\nINFO: next",
        "Exception ignored in: <function Server.__del__ at 0x7f64ec9aff70>\nINFO:     next\nServer: stopped",
        "Exception ignored in handler\nTraceback (most recent call last):\n  File 'x'\nKeyError: 'x'",
        "WARN about Exception ignored in: <function f>\nTraceback (most recent call last):\n  File 'x'\nKeyError: 'x'",
        'Traceback (most recent call last):\n  File "x", line 1\nKeyError: "Event loop is closed"',
    ],
)
def test_words_are_no_signature(text: str) -> None:
    assert found(text) == []


def ignored(name: str) -> list[str]:
    return [
        f"Exception ignored in: <function {name}.__del__ at 0x7f64ec9aff70>",
        "Traceback (most recent call last):",
        f'  File "/srv/{name}.py", line 5, in __del__',
        "    self.loop.call_soon(print)",
        "RuntimeError: Event loop is closed",
    ]


def test_log_lines_between_the_lines_of_a_signature() -> None:
    text = "\n".join(
        f'{line}\nINFO:     127.0.0.1:5000 - "POST /predict HTTP/1.1" 200 OK\nServer: busy\n{{"a": 1}}'
        for line in ignored("A")
    )
    (debris,) = found(text)
    assert list(debris.lines) == ignored("A")


def test_two_processes_at_once_in_one_stream() -> None:
    text = "\n".join(line for pair in zip(ignored("A"), ignored("B"), strict=True) for line in pair)
    debris = found(text)
    assert [one.kind for one in debris] == ["exception_ignored"] * 2
    # Which process printed which line cannot be known, but none is lost.
    assert sum(len(one.lines) for one in debris) == 10


def test_two_streams_do_not_mix() -> None:
    both = [
        {"t": float(n), "stream": stream, "text": line}
        for n, pair in enumerate(zip(ignored("A"), ignored("B"), strict=True))
        for stream, line in zip(("stderr", "stdout"), pair, strict=True)
    ]
    assert [(one.stream, list(one.lines)) for one in find_debris(both)] == [
        ("stderr", ignored("A")),
        ("stdout", ignored("B")),
    ]


def test_a_traceback_that_was_cut_off_does_not_swallow_the_next_signature() -> None:
    cut = ["Traceback (most recent call last):", '  File "/srv/x.py", line 5, in handler']
    (debris,) = found("\n".join(cut + ignored("A")))
    assert list(debris.lines) == ignored("A")


@pytest.mark.parametrize(
    "prefix", ["[worker 1] ", "2026-11-20 12:00:0{} [INFO ] W-9000-stdout MODEL_LOG - ", "web.1  | "]
)
@pytest.mark.parametrize(
    "program", ["exception ignored", "pending, logged", "task exception", "never awaited", "loop closed"]
)
def test_a_supervisor_that_prefixes_the_lines_of_its_workers(
    printed: dict[str, str], prefix: str, program: str
) -> None:
    text = printed[program].splitlines()
    prefixed = [prefix.format(n) + line for n, line in enumerate(text)]
    (bare,) = found(printed[program])
    (debris,) = found("\n".join(prefixed))
    assert debris.kind == bare.kind
    if program != "never awaited":
        assert list(debris.lines) == prefixed


@pytest.mark.parametrize("program", ["pending", "task exception", "never awaited"])
def test_a_record_that_is_one_line_of_json(printed: dict[str, str], program: str) -> None:
    line = json.dumps({"level": "ERROR", "logger": "asyncio", "message": printed[program].rstrip(), "pid": 7})
    (debris,) = found(f'{{"level": "INFO"}}\n{line}\n{{"level": "INFO"}}')
    assert debris.kind == found(printed[program])[0].kind
    assert debris.t == 1.0


def test_time_order_and_text() -> None:
    text = "x\n" + "\n".join(ignored("A")) + "\nsys:1: RuntimeWarning: coroutine 'a' was never awaited"
    first, second = found(text)
    assert (first.t, second.t) == (1.0, 6.0)
    assert str(first).startswith("Exception ignored in: <function A.__del__")
    assert str(first).endswith("… RuntimeError: Event loop is closed")
    assert str(second) == "sys:1: RuntimeWarning: coroutine 'a' was never awaited"


def test_lines_without_text_are_passed_over() -> None:
    extra = [{"t": 1.0, "dropped_lines": 3, "dropped_bytes": 9}, {"t": 2.0, "end": "stderr"}]
    assert find_debris([*extra, *lines("\n".join(ignored("A")))])[0].kind == "exception_ignored"


def test_a_flood_is_read_quickly(tmp_path: Path) -> None:
    handled = "\n".join(["Traceback (most recent call last):", '  File "x", line 1, in f', "    f()", "KeyError: 1"])
    assert found(f"{handled}\n" * 5000) == []
