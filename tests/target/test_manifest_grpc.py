"""gRPC requests in a manifest: real files, read by `load_target`."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from drainproof.errors import ManifestError
from drainproof.load.inference import METHOD, message_class
from drainproof.load.messages import filled
from drainproof.load.plan import Request
from drainproof.target.description import Target
from drainproof.target.manifest import load_target

HEAD = """
[start]
command = ["{python}", "server.py", "{port}", "{grpc_port}"]
ports = ["http", "grpc"]
[health]
readiness = "/ready"
[[request]]
name = "http"
path = "/"
"""

ECHO = 'model_infer = { model = "echo", inputs = [{ name = "token", datatype = "BYTES", data = ["{token}"] }] }\n'


def loaded(folder: Path, request: str, head: str = HEAD) -> Target:
    (folder / "drainproof.toml").write_text(f'{head}[[request]]\nprotocol = "grpc"\n{request}')
    return load_target(folder)


def test_a_request_of_the_inference_protocol(tmp_path: Path) -> None:
    text = """
        name = "slow"
        duration = 1
        expect = { contains = "{token}" }
        model_infer = { model = "echo", id = "{token}", inputs = [
            { name = "token", datatype = "BYTES", shape = [1, 1], data = ["{token}"] },
            { name = "seconds", datatype = "FP64", data = [0.5] },
        ], parameters = { a = 1, b = true } }
    """
    target = loaded(tmp_path, text)
    request = target.slow("grpc")
    assert (request.path, request.method, request.port, request.expect.status) == (METHOD, "gRPC", "grpc", (0,))
    sent = message_class("ModelInferRequest").FromString(filled(request.message, b"t" * 200))
    assert (sent.model_name, sent.id, sent.inputs[0].contents.bytes_contents) == ("echo", "t" * 200, [b"t" * 200])
    assert (list(sent.inputs[0].shape), list(sent.inputs[1].contents.fp64_contents)) == ([1, 1], [0.5])
    assert (sent.parameters["a"].int64_param, sent.parameters["b"].bool_param) == (1, True)
    assert Target.from_json(target.to_json()) == target
    assert target.fast().name == target.slow().name == "http"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ('message = "{token} 5"', b"{token} 5"),
        ('message_base64 = "Cgd7dG9rZW59"', b"\n\x07{token}"),
        ('message_file = "message.bin"', b"\x08\x01"),
        ("", b""),
    ],
)
def test_a_message_of_bytes(tmp_path: Path, key: str, message: bytes) -> None:
    (tmp_path / "message.bin").write_bytes(b"\x08\x01")
    assert loaded(tmp_path, f'rpc = "/a.B/C"\n{key}').requests[1].message == message


def test_a_stream(tmp_path: Path) -> None:
    target = loaded(
        tmp_path, 'rpc = "/a.B/C"\nstream = true\nduration = 2\nexpect = { messages = 5, status = ["OK", "ABORTED"] }'
    )
    stream = target.streaming("grpc")
    assert isinstance(stream, Request)
    assert (stream.expect.messages, stream.expect.status) == (5, (0, 10))
    assert not target.speaks("grpc") and target.speaks("http") and target.streaming("http") is None


MISTAKES = [
    ("", "request[1].rpc", 'missing; expected the method to call, such as "/package.Service/Method"'),
    ('rpc = "a.B.C"', "request[1].rpc", 'Did you mean "/a.B/C"?'),
    ('rpc = "/a.B/C"\npath = "/x"', "request[1].path", "has no path; it has rpc"),
    ('rpc = "/a.B/C"\njson = 1', "request[1].json", "has no json; it has message or model_infer"),
    ('rpc = "/a.B/C"\nport = "grcp"', "request[1].port", 'start.ports has no port "grcp". Did you mean "grpc"?'),
    ('rpc = "/a.B/C"\nexpect = { status = 200 }', "request[1].expect.status", 'gRPC status codes here, such as "OK"'),
    ('rpc = "/a.B/C"\nexpect = { status = "ok" }', "request[1].expect.status", "Did you mean"),
    ('rpc = "/a.B/C"\nexpect = { messages = 2 }', "request[1].expect.messages", "add stream = true"),
    ('rpc = "/a.B/C"\nexpect = { contains = "{token}" }', "request[1].expect.contains", "no {token} in its message"),
    ('rpc = "/a.B/C"\nmessage = ""\nmessage_base64 = ""', "request[1].message_base64", "there is message already"),
    ('rpc = "/a.B/C"\nheaders = { "X-Trace-Bin" = "x" }', "request[1].headers.X-Trace-Bin", "-bin is for bytes"),
    ('rpc = "/a.B/C"\nmessage_base64 = "ü"', "request[1].message_base64", "expected bytes as base64"),
    ('rpc = "/a.B/C"\nmessage_file = "none"', "request[1].message_file", "there is no such file in "),
    (ECHO.replace("BYTES", "bytes"), "request[1].model_infer.inputs[0].datatype", "Did you mean"),
    (ECHO.replace("BYTES", "FP32"), "request[1].model_infer.inputs[0].data", "no elements of a tensor of FP32"),
    (
        ECHO.replace("data =", "shape = [2], data ="),
        "request[1].model_infer.inputs[0].shape",
        "of 2 elements, and data",
    ),
]


@pytest.mark.parametrize(("text", "key", "expected"), MISTAKES, ids=[f"{key}: {text}" for _, key, text in MISTAKES])
def test_a_mistake_is_named(tmp_path: Path, text: str, key: str, expected: str) -> None:
    with pytest.raises(ManifestError) as caught:
        loaded(tmp_path, text)
    report = str(caught.value)
    assert "1 mistake\n" in report and f"  {key}" in report and expected in report


def test_all_calls_go_to_one_port(tmp_path: Path) -> None:
    head = HEAD.replace('"{grpc_port}"', '"{grpc_port}", "{other_port}"').replace('"grpc"]', '"grpc", "other"]')
    request = 'rpc = "/a.B/C"\nport = "other"\n'
    assert loaded(tmp_path, request, head=head).requests[1].port == "other"
    second = f'{request}[[request]]\nprotocol = "grpc"\nname = "second"\nrpc = "/a.B/C"\n'
    with pytest.raises(ManifestError, match=r'request\[2\]\.protocol.*\n.*port "other"; expected one port for all'):
        loaded(tmp_path, second, head=head)


def test_an_undeclared_port_is_named_with_what_to_write(tmp_path: Path) -> None:
    head = HEAD.replace(', "{grpc_port}"', "").replace('ports = ["http", "grpc"]', "")
    with pytest.raises(ManifestError, match=r'ports = \["http", "grpc"\], and \{grpc_port\} in it'):
        loaded(tmp_path, ECHO, head=head)


@pytest.mark.parametrize(
    ("text", "key"),
    [('rpc = "/a.B/C"', "rpc"), ('message = "x"', "message"), ("expect = { messages = 1 }", "expect.m")],
)
def test_its_keys_are_for_grpc_alone(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "drainproof.toml").write_text(f"{HEAD}\n{text}")
    with pytest.raises(ManifestError, match=rf'request\[0\]\.{key}.*\n.*protocol = "grpc"'):
        load_target(tmp_path)


def test_there_must_be_an_http_request_that_is_no_stream(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="an HTTP request that is no stream"):
        loaded(tmp_path, ECHO, head=HEAD.replace('path = "/"', 'path = "/"\nstream = true'))
    with pytest.raises(ManifestError, match="an HTTP request that is no stream"):
        loaded(tmp_path, ECHO, head=HEAD.replace('path = "/"', 'path = "/"\nduration = "endless"'))
    assert math.isinf(loaded(tmp_path, 'rpc = "/a.B/C"\nduration = "endless"').requests[1].duration)
