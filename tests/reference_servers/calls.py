"""Calls to a running server over gRPC, one attempt each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from drainproof.load import inference

from tests.reference_servers.running import PATIENCE, Running

OPTIONS = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


@contextmanager
def calling(server: Running) -> Iterator[grpc.Channel]:
    """A connected channel of its own."""
    with grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}", options=OPTIONS) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE)
        yield channel


def begin(channel: grpc.Channel, *, token: str, seconds: float = 0.0) -> Any:
    """Sends a call; for `outcome`."""
    inputs: list[dict[str, Any]] = [{"name": "token", "datatype": "BYTES", "data": [token]}]
    if seconds:
        inputs.append({"name": "seconds", "datatype": "FP64", "data": [seconds]})
    message = inference.model_infer(model="echo", inputs=inputs)
    return channel.unary_unary(inference.METHOD).future(message, timeout=PATIENCE)


def outcome(call: Any, *, token: str) -> str:
    """The token where it came back, else the status with its details."""
    try:
        answer: bytes = call.result()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    return token if token.encode() in answer else repr(answer)


def infer(channel: grpc.Channel, *, token: str, seconds: float = 0.0) -> str:
    """A call and its outcome."""
    return outcome(begin(channel, token=token, seconds=seconds), token=token)


def count(channel: grpc.Channel, *, token: str, messages: int, interval_ms: int) -> tuple[list[str], str]:
    """The messages of a stream, and the name of its status."""
    stream = channel.unary_stream("/drainproof.reference.Stream/Count")
    received: list[str] = []
    try:
        for message in stream(f"{token} {messages} {interval_ms}".encode(), timeout=PATIENCE):
            received.append(message.decode())
    except grpc.RpcError as error:
        return received, str(error.code().name)
    return received, "OK"
