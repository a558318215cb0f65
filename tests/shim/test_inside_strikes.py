"""What a fault strikes where it waits, and what it leaves alone."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.shim.programs import MINORS, Program, interpreter

GRANT = """
    import os

    def grant(index, shots=1):
        "What the experiment does."
        with open(os.environ["DRAINPROOF_SHIM"] + "/control", "r+b") as control:
            control.seek(index)
            control.write(bytes([shots]))
"""

CALLED = """
    import asyncio

    def function():
        return "function"

    def generator():
        yield "generator"

    async def async_generator():
        yield "async generator"

    def decorated():
        return asyncio.sleep(0)

    async def recursive(depth, event):
        if depth:
            await recursive(depth - 1, event)
        elif event is not None:
            await event.wait()
"""

KINDS = ("function", "generator", "async_generator", "decorated", "recursive")


@pytest.mark.parametrize("minor", MINORS)
def test_a_task_is_left_alone_once_the_function_is_over(minor: int, tmp_path: Path) -> None:
    """It waits for something of its own when the command comes."""
    program = Program(
        tmp_path,
        called=CALLED,
        grant=GRANT,
        main=f"""
        import asyncio, json
        import called
        from grant import grant

        async def main():
            for _ in range(300):
                called.function()
                list(called.generator())
                async for _ in called.async_generator():
                    pass
                await called.decorated()
                await called.recursive(3, None)
            from drainproof_shim import waiting
            left = len(waiting._entries)
            for index in range({len(KINDS)}):
                grant(index)
            await asyncio.sleep(0.5)
            return left

        async def struck_inside():
            task = asyncio.get_running_loop().create_task(called.recursive(3, asyncio.Event()))
            try:
                await asyncio.wait_for(task, 30)
            except RuntimeError as problem:
                return str(problem)

        print(json.dumps([asyncio.run(main()), asyncio.run(struck_inside())]))
        """,
    )
    for kind in KINDS:
        program.arm(kind, f"called:{kind}", when={"command": True})
    assert program.run(interpreter(minor)) == [0, "injected: recursive"]
    assert {report["fault"] for report in program.reports().all("fired")} == {"recursive"}
    assert not program.reports().all("trouble")


def test_loops_of_other_threads_are_left_alone(tmp_path: Path) -> None:
    """The main process runs one beside its work, and its worker serves in the main thread."""
    program = Program(
        tmp_path,
        grant=GRANT,
        main="""
        import asyncio, json, os, threading
        from grant import grant

        def beside():
            async def wait():
                running.set()
                await asyncio.get_running_loop().run_in_executor(None, done.wait)
                await asyncio.sleep(0.3)
            asyncio.run(wait())

        async def serve():
            told = []
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
            ready.write(b"ready"), ready.flush()
            try:
                while True:
                    await asyncio.sleep(0.01)
            except RuntimeError as problem:
                while len(told) < 2:
                    await asyncio.sleep(0.01)
                ready.write(str(problem).encode()), ready.flush()

        running, done = threading.Event(), threading.Event()
        threading.Thread(target=beside).start()
        running.wait()
        reading, writing = os.pipe()
        worker = os.fork()
        if not worker:
            ready = os.fdopen(writing, "wb")
            asyncio.run(serve())
            os._exit(0)
        os.close(writing)
        assert os.read(reading, 100) == b"ready"
        for index in range(3):
            grant(index)
        said = os.read(reading, 100).decode()
        os.waitpid(worker, 0)
        done.set()
        print(json.dumps([said, worker]))
        """,
    )
    for name in ("main", "task", "callback"):
        program.arm(name, "@" + name, when={"command": True}, shots=2)
    said, worker = program.run(sys.executable)
    assert said == "injected: main"
    assert {report["pid"] for report in program.reports().all("fired")} == {worker}
    assert {report["pid"] for report in program.reports().all("armed")} == {worker}
    assert not program.reports().all("trouble")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_main_process_of_another_user_is_one(tmp_path: Path) -> None:
    """Its worker may not send it signals, and leaves its main coroutine to it all the same."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        program = Program(
            Path(folder),
            main="""
            import asyncio, json, os, time

            async def serve():
                try:
                    await asyncio.sleep(2)
                except RuntimeError:
                    os._exit(1)
                os._exit(0)

            async def main():
                worker = os.fork()
                if not worker:
                    asyncio._set_running_loop(None)
                    os.setgid(65534), os.setuid(65534)
                    asyncio.run(serve())
                status = os.waitpid(worker, 0)[1]  # the loop stands still
                try:
                    await asyncio.sleep(30)
                except RuntimeError as problem:
                    print(json.dumps([status, str(problem)]))

            asyncio.run(main())
            """,
        )
        program.arm("main", "@main", when={"after": 0.5})
        assert program.run(sys.executable) == [0, "injected: main"]
