"""Named sites in real servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from drainproof.target.ports import reserve

from tests.shim.programs import Program

SITES = ("main", "rest", "grpc", "task", "callback", "stop", "load", "handler")
KSERVE = Path(__file__).parents[2] / "reference_servers" / "kserve"
RELEASES = ("0.11.2", "0.13.1", "0.15.2", "0.21.0")
COMMAND = {"command": True}
DEBRIS = ("Event loop is closed", "was never awaited")


class Server:
    """A running server with the shim in it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process = process
        self.port = port
        self.output = output

    def ask(self, path: str, body: object = None) -> int | None:
        """The status of the answer; None for none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json"} if data else {}
            connection.request("POST" if data else "GET", path, data, headers)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def wait(self, condition: Callable[[], object], seconds: float = 180) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return True
            time.sleep(0.02)
        return False

    def ended(self, seconds: float) -> int | None:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


@contextmanager
def serve(program: Program, *command: str, ready: str = "/") -> Iterator[Server]:
    """Runs `command`, with `{http}` and `{grpc}` for free ports, until the block ends."""
    with reserve(names=("http", "grpc")) as ports:
        with started(program, [part.format(**ports) for part in command], ports["http"]) as server:
            assert server.wait(lambda: server.ask(ready) == 200 or server.process.poll() is not None)
            yield server


@contextmanager
def started(program: Program, command: list[str], port: int) -> Iterator[Server]:
    program.session.install()
    output = program.folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=program.folder,
            env=program.environment(),
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield Server(process, port, output)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


APPLICATION = """
    import sys, uvicorn

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"served"})

    if __name__ == "__main__":
        uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
"""


def test_uvicorn(tmp_path: Path) -> None:
    program = Program(tmp_path, main=APPLICATION)
    program.arm("handler", "@handler", when=COMMAND, paths=("/predict",))
    program.arm("exits", "@handler", when=COMMAND, paths=("/exit",), exception="SystemExit")
    program.arm("task", "@task", when=COMMAND)
    program.arm("callback", "@callback", when=COMMAND)
    program.arm("stop", "@stop")
    with serve(program, sys.executable, "main.py", "{http}") as server:
        assert [server.ask("/predict"), server.ask("/exit")] == [200, 200]
        program.session.grant("handler")
        program.session.grant("exits")
        assert [server.ask("/"), server.ask("/predict"), server.ask("/exit")] == [200, 500, 500]
        assert [server.ask("/predict"), server.ask("/exit")] == [200, 200]
        for name in ("task", "callback"):
            program.session.grant(name)
            assert server.wait(lambda name=name: program.reports().fired(name))
        assert server.wait(lambda: "injected: callback" in server.output.read_text())
        assert server.ask("/predict") == 200
        server.process.terminate()
        assert server.ended(120) == 1
        assert "injected: stop" in server.output.read_text()
    (handler,) = program.reports().fired("handler")
    assert handler["site"].endswith(":RequestResponseCycle.run_asgi")
    assert program.reports().fired("stop")[0]["site"] == "uvicorn.server:Server.shutdown"
    assert not program.reports().all("trouble")


def test_paths_are_those_that_the_client_asks_for(tmp_path: Path) -> None:
    """Below a root path, and encoded."""
    program = Program(tmp_path, main=APPLICATION.replace("log_level=", 'root_path="/api", log_level='))
    program.arm("handler", "@handler", when=COMMAND, paths=("/predict", "/m%C3%BCller%2D1"), shots=2)
    with serve(program, sys.executable, "main.py", "{http}") as server:
        program.session.grant("handler")
        program.session.grant("handler")
        paths = ["/", "/predict", "/m%C3%BCller-2", "/m%c3%bcller-1", "/predict"]
        assert [server.ask(path) for path in paths] == [200, 500, 200, 500, 200]


@pytest.mark.parametrize("site", ["@rest", "@main"])
def test_uvicorn_ends(site: str, tmp_path: Path) -> None:
    program = Program(tmp_path, main=APPLICATION)
    program.arm("fault", site, when=COMMAND)
    with serve(program, sys.executable, "main.py", "{http}") as server:
        assert server.ask("/") == 200
        program.session.grant("fault")
        assert server.ended(120) == 1
        assert "RuntimeError: injected: fault" in server.output.read_text()
    assert len(program.reports().fired("fault")) == 1


LATE_WORKER = """
    import multiprocessing, os, sys, time, uvicorn

    async def app(scope, receive, send):
        if scope["type"] == "http":
            if scope["path"] == "/worker":  # the main process looks at nothing while it does this
                open("deaf", "w").close()
                while not os.path.exists("granted"):
                    time.sleep(0.01)
                worker = multiprocessing.get_context("spawn").Process(target=serve)
                worker.start()
                worker.join()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"served"})

    def serve(port=0):
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
        server.should_exit = port == 0
        server.run()

    if __name__ == "__main__":
        serve(int(sys.argv[1]))
"""


def test_a_worker_that_comes_late_leaves_the_fault_to_the_main_process(tmp_path: Path) -> None:
    """KServe starts its workers behind one that serves already, and its main process is deaf meanwhile."""
    program = Program(tmp_path, main=LATE_WORKER)
    program.arm("rest", "@rest", when=COMMAND)
    with serve(program, sys.executable, "main.py", "{http}") as server:
        asking = threading.Thread(target=server.ask, args=("/worker",))
        asking.start()
        assert server.wait((program.folder / "deaf").exists)
        program.session.grant("rest")
        (program.folder / "granted").touch()
        assert server.wait(lambda: program.reports().fired("rest")), program.reports().lines
        asking.join()
    assert [shot["pid"] for shot in program.reports().fired("rest")] == [server.process.pid]
    assert len({line["pid"] for line in program.reports().all("armed")}) > 1, "there was no other to leave it alone"


def kserve(program: Program, release: str, workers: int = 1) -> Any:
    home = os.environ.get("DRAINPROOF_ENVIRONMENTS") or Path.home() / ".cache" / "drainproof"
    if not (Path(home) / f"kserve-{release}" / "finished").is_file():
        pytest.skip(f"there is no environment for KServe {release}; make it with {KSERVE / 'environment'} {release}")
    command = [str(KSERVE / "run"), release, "--http_port", "{http}", "--grpc_port", "{grpc}"]
    return serve(program, *command, "--workers", str(workers), ready="/v2/models/echo/ready")


@pytest.mark.real
@pytest.mark.parametrize("release", RELEASES)
def test_the_rest_coroutine_of_kserve_raises_while_grpc_lives(release: str, tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.arm("rest", "@rest", when=COMMAND)
    with kserve(program, release) as server:
        program.session.grant("rest")
        assert server.wait(lambda: program.reports().fired("rest"))
        hangs = release == "0.11.2"
        assert server.ended(5 if hangs else 180) == (None if hangs else 1)
        printed = server.output.read_text()
        assert [line in printed for line in DEBRIS] == [release != "0.13.1"] * 2
    assert len(program.reports().fired("rest")) == 1


@pytest.mark.real
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("site", "workers"),
    [*((site, 1) for site in SITES), *((site, 2) for site in ("main", "rest", "load"))],
)
def test_every_named_site_fires_in_kserve(site: str, release: str, workers: int, tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.arm(site, f"@{site}", when={"call": 1} if site == "load" else COMMAND)
    with kserve(program, release, workers) as server:
        if site != "load":
            predict = ("/v1/models/echo:predict", {"instances": [{"token": "a"}]})
            assert server.ask(*predict) == 200
            program.session.grant(site)
            if site == "handler":
                assert [server.ask(*predict) for _ in range(3)] == [500, 200, 200]
            if site == "stop":
                server.process.terminate()
        assert server.wait(lambda: program.reports().fired(site)), program.reports().lines
    (fired,) = program.reports().fired(site)
    if site in ("main", "rest", "grpc", "task", "callback") and not (
        site == "rest" and release < "0.15" and workers > 1
    ):
        assert fired["pid"] == server.process.pid
    assert not program.reports().all("trouble")


@pytest.mark.parametrize("registered", [False, True])
def test_a_fault_for_one_grpc_method_leaves_the_others_alone(registered: bool, tmp_path: Path) -> None:
    """Also where the server knows its methods beforehand, as with the generated code of today, and KServe's."""
    program = Program(
        tmp_path,
        service="""
        async def unary(request, context):
            return request

        async def stream(request, context):
            yield request
            yield request
        """,
        main=f"""
        import asyncio, json
        import grpc
        from grpc import aio
        from service import stream, unary

        class Passing(aio.ServerInterceptor):
            async def intercept_service(self, continuation, details):
                return await continuation(details)

        async def call(channel, method):
            try:
                if method.startswith("/s/Stream"):
                    return b"".join([part async for part in channel.unary_stream(method)(b"x")]).decode()
                return (await channel.unary_unary(method)(b"x")).decode()
            except aio.AioRpcError as error:
                return error.code().name

        async def main():
            server = aio.server(interceptors=[Passing()])
            unaries = {{name: grpc.unary_unary_rpc_method_handler(unary) for name in ("Armed", "Other")}}
            streams = {{name: grpc.unary_stream_rpc_method_handler(stream) for name in ("StreamArmed", "StreamOther")}}
            handlers = {{**unaries, **streams}}
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", handlers),))
            if {registered}:
                server.add_registered_method_handlers("s", handlers)
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with aio.insecure_channel(f"127.0.0.1:{{port}}") as channel:
                methods = ["/s/" + kind + name for kind in ("", "Stream") for name in ("Other", "Armed", "Other")]
                said = [await call(channel, method) for method in methods]
            await server.stop(None)
            print(json.dumps(said))

        asyncio.run(main())
        """,
    )
    program.arm("handler", "service:unary", paths=("/s/Armed",))
    program.arm("streams", "service:stream", paths=("/s/StreamArmed",))
    assert program.run(sys.executable) == ["x", "UNKNOWN", "x", "xx", "UNKNOWN", "xx"]


def test_a_framework_that_is_imported_and_serves_nothing_is_found_out(tmp_path: Path) -> None:
    """FastAPI's module is there, and requests end in Starlette's routes: from the second on those are the handlers."""
    program = Program(
        tmp_path,
        main="""
        import asyncio, json
        import fastapi.routing
        from starlette.routing import Route

        async def answers():
            result = []
            for _ in range(4):
                try:
                    result.append(await Route().handle({}, None, None))
                except RuntimeError as problem:
                    result.append(str(problem))
            return result

        print(json.dumps(asyncio.run(answers())))
        """,
    )
    for name, text in {
        "fastapi": "async def run_endpoint_function():\n    return 'fastapi'\n",
        "starlette": "class Route:\n    async def handle(self, scope, receive, send):\n        return 'starlette'\n",
    }.items():
        (program.folder / name).mkdir()
        (program.folder / name / "__init__.py").touch()
        (program.folder / name / "routing.py").write_text(text)
    program.arm("handler", "@handler", shots=2)
    injected = "injected: handler"
    assert program.run(sys.executable) == ["starlette", injected, injected, "starlette"]
    assert {report["site"] for report in program.reports().fired("handler")} == {"starlette.routing:Route.handle"}
