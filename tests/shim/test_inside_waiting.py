"""Exceptions that surface where a coroutine waits, and faults in the loop itself, on each Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.shim.programs import MINORS, Program, interpreter

TARGET = """
    import asyncio, json, os

    def grant(index, shots=1):
        "What the experiment does."
        with open(os.environ["DRAINPROOF_SHIM"] + "/control", "r+b") as control:
            control.seek(index)
            control.write(bytes([shots]))

    async def waits(event):
        await inner(event)
        return "came"

    async def inner(event):
        await event.wait()

    async def gathers(child):
        await asyncio.gather(child)

    async def catches():
        try:
            await asyncio.sleep(600)
        except ValueError as problem:
            await asyncio.sleep(0)
            return "caught " + str(problem)

    async def in_time():
        await asyncio.sleep(600)

    async def cancelled():
        await asyncio.sleep(600)
"""

MAIN = """
    import asyncio, json, sys
    from target import cancelled, catches, gathers, grant, in_time, inner, waits

    async def outcome(task):
        try:
            return await asyncio.wait_for(task, 30)
        except BaseException as problem:
            return type(problem).__name__ + ": " + str(problem)

    async def main():
        loop, results = asyncio.get_running_loop(), {}
        for index, kind in enumerate((asyncio.tasks._CTask, asyncio.tasks._PyTask)):
            event = asyncio.Event()
            struck, other = kind(waits(event), loop=loop), kind(inner(event), loop=loop)
            await asyncio.sleep(0.05)
            results["early"] = struck.done()
            grant(0, index + 1)
            results[kind.__module__] = await outcome(struck)
            results["other waiter"] = other.done()
            event.set()
            await outcome(other)
        event = asyncio.Event()
        child = loop.create_task(inner(event))
        struck = loop.create_task(gathers(child))
        grant(1)
        results["gathers"] = await outcome(struck)
        results["gathered child"] = child.done()
        event.set()
        await outcome(child)
        task = loop.create_task(catches())
        await asyncio.sleep(0)
        grant(2)
        results["catches"] = await outcome(task)
        results["in time"] = await outcome(loop.create_task(in_time()))
        task = loop.create_task(cancelled())
        await asyncio.sleep(0)
        grant(4)
        try:
            await task
        except asyncio.CancelledError:
            results["cancelled"] = task.cancelled()
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        grant(5)
        grant(6)
        while len(contexts) < 2:
            await asyncio.sleep(0.01)
        results["loop"] = sorted(context["message"].partition("(")[0] for context in contexts)
        grant(7)
        results["main"] = "not struck"
        try:
            await asyncio.sleep(600)
        except RuntimeError as problem:
            results["main"] = str(problem)
        print(json.dumps(results), flush=True)

    asyncio.run(main())
"""


@pytest.mark.parametrize("minor", MINORS)
def test_what_waits_is_struck_and_what_it_waits_for_is_not(minor: int, tmp_path: Path) -> None:
    program = Program(tmp_path, main=MAIN, target=TARGET)
    command = {"command": True}
    program.arm("waits", "target:waits", when=command, shots=2)
    program.arm("gathers", "target:gathers", when=command)
    program.arm("catches", "target:catches", when=command, exception="ValueError")
    program.arm("in time", "target:in_time", when={"after": 0.3})
    program.arm("cancelled", "target:cancelled", when=command, exception="asyncio:CancelledError")
    program.arm("task", "@task", when=command)
    program.arm("callback", "@callback", when=command)
    program.arm("main", "@main", when=command)
    got = program.run(interpreter(minor))
    assert got == {
        "early": False,
        "_asyncio": "RuntimeError: injected: waits",
        "asyncio.tasks": "RuntimeError: injected: waits",
        "other waiter": False,
        "gathers": "RuntimeError: injected: gathers",
        "gathered child": False,
        "catches": "caught injected: catches",
        "in time": "RuntimeError: injected: in time",
        "cancelled": True,
        "loop": ["Exception in callback failing_callback", "Task exception was never retrieved"],
        "main": "injected: main",
    }
    reports = program.reports()
    assert [report["shot"] for report in reports.fired("waits")] == [1, 2]
    assert reports.fired("waits")[0]["where"].endswith("wait") and "locks.py:" in reports.fired("waits")[0]["where"]
    (main,) = reports.fired("main")
    assert (main["site"], main["thread"], main["exception"]) == ("@main:main", "MainThread", "RuntimeError")
    assert main["task"].startswith("Task-")
    assert [len(reports.all("armed", fault=name)) for name in ("main", "task", "callback")] == [1, 1, 1]
    assert not reports.all("trouble")


@pytest.mark.parametrize("exception", ["SystemExit", "KeyboardInterrupt"])
def test_what_ends_a_program_ends_it_from_where_it_waits(exception: str, tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        main="""
        import asyncio, json
        async def main():
            try:
                await asyncio.sleep(600)
            finally:
                print(json.dumps("cleaned up"))
        try:
            asyncio.run(main())
        except (SystemExit, KeyboardInterrupt) as problem:
            assert problem.args == ("why",)
        """,
    )
    program.arm("main", "@main", when={"after": 0.2}, exception=exception, message="why")
    assert program.run(sys.executable) == "cleaned up"
    assert program.reports().fired("main")[0]["exception"] == exception


def test_a_worker_leaves_the_main_coroutine_of_the_main_process_to_it(tmp_path: Path) -> None:
    program = Program(
        tmp_path,
        target=TARGET,
        main="""
        import asyncio, json, multiprocessing, os, time
        from target import grant

        async def serve(serving):
            serving.release()
            await asyncio.sleep(600)

        def worker(serving):
            asyncio.run(serve(serving))

        async def main():
            spawn, fork = multiprocessing.get_context("spawn"), multiprocessing.get_context("fork")
            serving = spawn.Semaphore(0)
            workers = [kind.Process(target=worker, args=(serving,)) for kind in (spawn, fork)]
            try:
                for each in workers:
                    each.start()
                serving.acquire(), serving.acquire()
                grant(0)
                time.sleep(0.1)  # the loop stands still: the workers could strike first
                await asyncio.sleep(30)
            finally:
                for each in workers:
                    each.terminate()
                    each.join()
                print(json.dumps([os.getpid(), [each.exitcode for each in workers]]))

        if __name__ == "__main__":
            try:
                asyncio.run(main())
            except RuntimeError:
                pass
        """,
    )
    program.arm("main", "@main", when={"command": True})
    pid, workers = program.run(sys.executable)
    assert [report["pid"] for report in program.reports().fired("main")] == [pid]
    assert workers == [-15, -15]
