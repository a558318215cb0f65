"""gRPC and streams of the conforming server, tried without the harness."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from drainproof.load import inference

from tests.reference_servers.calls import begin, calling, count, infer, outcome
from tests.reference_servers.running import CONFORMING, PATIENCE, Running


@pytest.fixture(scope="module")
def modules() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CONFORMING))
        from model_server import door, messages

        yield {"door": door, "messages": messages}


@pytest.mark.parametrize("workers", [1, 2])
def test_both_protocols_drain_in_the_same_time(tmp_path: Path, workers: int) -> None:
    with Running(CONFORMING, tmp=tmp_path, workers=workers) as server, ThreadPoolExecutor(16) as pool:
        server.await_serving()
        with calling(server) as one, calling(server) as other:
            streams = [pool.submit(count, other, token="s", messages=12, interval_ms=100) for _ in range(2)]
            calls = [begin(one, token=f"call-{n}", seconds=1.0) for n in range(6)]
            asked = [pool.submit(server.predict, token=f"token-{n}", ms=1000) for n in range(4)]
            server.await_accepted(4)
            assert infer(one, token="the server has read what came before") != ""
            server.send(signal.SIGTERM)
            assert [outcome(call, token=f"call-{n}") for n, call in enumerate(calls)] == [f"call-{n}" for n in range(6)]
            assert [stream.result() for stream in streams] == [([f"s {n}" for n in range(12)], "OK")] * 2
            assert [answer.result()[0] for answer in asked] == [200] * 4
            assert server.wait() == 0, server.text()
            assert infer(one, token="late").startswith("UNAVAILABLE")
        server.await_gone()
        assert list(tmp_path.iterdir()) == [server.output]


def test_what_never_ends_is_cut_by_the_protocols_own_end(tmp_path: Path) -> None:
    with Running(CONFORMING, tmp=tmp_path, workers=1) as server, ThreadPoolExecutor(4) as pool:
        server.await_serving()
        with calling(server) as channel, socket.create_connection(("127.0.0.1", server.ports["grpc"])) as silent:
            call = begin(channel, token="x", seconds=3600)
            stream = pool.submit(count, channel, token="s", messages=3600, interval_ms=1000)
            body = json.dumps({"token": "x", "count": 3600, "interval_ms": 1000}).encode()
            client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            client.sendall(b"POST /stream HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            with client, client.makefile("rb") as answer:
                while answer.readline() != b"x 0\n":
                    pass
                server.send(signal.SIGTERM)
                assert answer.read().endswith(b"\r\n0\r\n\r\n")
            assert outcome(call, token="x") == "UNAVAILABLE: the server is stopping"
            assert stream.result()[1] == "UNAVAILABLE"
            assert server.wait() == 0, server.text()
            while silent.recv(100):
                pass


def test_a_message_that_is_none_is_the_clients_fault(tmp_path: Path) -> None:
    with Running(CONFORMING, tmp=tmp_path, workers=1) as server:
        server.await_serving()
        with calling(server) as channel:
            for method, message in (
                (inference.METHOD, b"\xff\xff"),
                (inference.METHOD, b""),
                ("/drainproof.reference.Stream/Count", b"nonsense"),
            ):
                with pytest.raises(grpc.RpcError) as refused:
                    list(channel.unary_stream(method)(message, timeout=PATIENCE))
                assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert infer(channel, token="still") == "still"


def test_without_its_port_grpc_is_not_even_imported(tmp_path: Path) -> None:
    code = "import sys, model_server; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CONFORMING, check=False).returncode == 0


def test_messages_are_those_of_the_published_protocol(modules: Any) -> None:
    tensors = [
        {"name": "seconds", "datatype": "FP64", "data": [0.25]},
        {"name": "token", "datatype": "BYTES", "data": ["t"], "shape": [1]},
    ]
    parsed = modules["messages"].parse_request(
        inference.model_infer(model="m", id="i", version="1", inputs=tensors, parameters={"x": 1})
    )
    assert (parsed.model, parsed.id, parsed.token, parsed.seconds) == ("m", "i", "t", 0.25)


class TestFrames:
    SETTINGS = bytes.fromhex("000000040000000000")
    HEADERS_OPEN = b"\x00\x00\x02\x01\x00\x00\x00\x00\x01ab"
    CONTINUATION = b"\x00\x00\x01\x09\x04\x00\x00\x00\x01c"

    def test_boundaries_are_found_however_the_bytes_come(self, modules: Any) -> None:
        stream = self.SETTINGS + self.HEADERS_OPEN + self.CONTINUATION + self.SETTINGS
        seen: list[tuple[int, int, int]] = []
        frames = modules["door"].Frames(on_frame=lambda *frame: seen.append(frame))
        assert not frames.at_boundary
        boundaries = [n + 1 for n in range(len(stream)) if frames.feed(stream[n : n + 1])]
        assert boundaries == [9, len(stream) - 9, len(stream)]
        assert seen == [(4, 0, 0), (1, 0, 1), (9, 4, 1), (4, 0, 0)]
        at_once = modules["door"].Frames(on_frame=lambda *frame: None, preface=24)
        assert at_once.feed(bytes(24) + stream + b"\x00") == 24 + len(stream)
        assert modules["door"].Frames(on_frame=lambda *frame: None).feed(stream[:9] + self.HEADERS_OPEN) == 9
