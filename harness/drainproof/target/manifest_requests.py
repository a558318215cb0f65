"""`[[request]]`: what the target can be asked, over HTTP and gRPC."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, ValidationInfo, model_validator

from drainproof.load import inference
from drainproof.load.answer import GRPC_CODES
from drainproof.target.manifest_grpc import Base64, ModelInfer, grpc_keys, grpc_mistakes, message_bytes
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_values import (
    TOKEN,
    Argument,
    Arguments,
    Contained,
    Duration,
    Headers,
    Json,
    MessageCount,
    Method,
    Name,
    PortName,
    ProtocolName,
    RequestPath,
    RpcName,
    Statuses,
    Text,
    Truth,
    Variables,
)


class Expect(Section):
    """`expect`: the answer that counts as right."""

    status: Statuses | None = None
    contains: Contained | None = None
    json_value: Json = Field(default=None, alias="json")
    messages: MessageCount | None = None


class RequestTable(Section):
    """`[[request]]`: one kind of request."""

    name: Name | None = None
    protocol: ProtocolName = "http"
    method: Method | None = None
    path: RequestPath | None = Field(default=None, description='the path of the request, such as "/predict"')
    headers: Headers = {}
    json_value: Json = Field(default=None, alias="json")
    body: Text | None = None
    expect: Expect = Expect()
    duration: Duration = 0.0
    safe_to_repeat: Truth = True
    stream: Truth = False
    rpc: RpcName | None = None
    port: PortName | None = None
    message: Text | None = None
    message_base64: Base64 | None = None
    message_file: Argument | None = None
    model_infer: ModelInfer | None = None

    @property
    def is_grpc(self) -> bool:
        """Whether it goes to a gRPC method."""
        return self.protocol == "grpc"

    @property
    def has_json(self) -> bool:
        """Whether `json` was given."""
        return "json_value" in self.model_fields_set

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> RequestTable:
        folder: Path = info.context["folder"] if info.context else Path()
        found = grpc_mistakes(self, folder) if self.is_grpc else self._http_mistakes()
        found += self._mixed_up() + self._status_mistakes()
        names = [name.lower() for name in self.headers]
        found += [
            (("headers", name), "the same header twice (their case does not count)")
            for i, name in enumerate(self.headers)
            if name.lower() in names[:i]
        ]
        found += self._token_mistakes(folder) if not found else []
        complain(found)
        return self

    def _http_mistakes(self) -> Found:
        found: Found = []
        if self.path is None:
            found.append((("path",), 'missing; expected the path of the request, such as "/predict"'))
        if self.has_json and self.body is not None:
            found.append((("body",), "there is json already; a request has one of them"))
        return found

    def _mixed_up(self) -> Found:
        """Keys of one protocol in a request of the other."""
        if self.is_grpc:
            given = [name for name in ("method", "path", "body") if getattr(self, name) is not None]
            given += ["json"] if self.has_json else []
            other = {"method": "rpc", "path": "rpc"}
            text = 'a gRPC request (protocol = "grpc") has no {}; it has {}'
            found: Found = [((name,), text.format(name, other.get(name, "message or model_infer"))) for name in given]
            if "json_value" in self.expect.model_fields_set:
                found.append((("expect", "json"), "a gRPC message is no JSON; expect.contains looks at its bytes"))
            return found
        found = [((name,), f'only a gRPC request has {name}: add protocol = "grpc"') for name in grpc_keys(self)]
        if self.expect.messages is not None:
            found.append((("expect", "messages"), 'only a gRPC stream has messages to count: protocol = "grpc"'))
        return found

    def _status_mistakes(self) -> Found:
        found: Found = []
        if self.is_grpc and self.expect.messages is not None and not self.stream:
            found.append((("expect", "messages"), "only a stream has several: add stream = true"))
        for each in self.expect.status or ():
            if self.is_grpc and each not in GRPC_CODES:
                found.append((("expect", "status"), 'expected names of gRPC status codes here, such as "OK"'))
            elif not self.is_grpc and each in GRPC_CODES:
                found.append((("expect", "status"), 'expected HTTP statuses here; names are for protocol = "grpc"'))
        return found[:2]

    def _token_mistakes(self, folder: Path) -> Found:
        if self.is_grpc:
            sent = [*self.headers.values(), message_bytes(self, folder).decode(errors="replace")]
            where = "message or headers"
        else:
            sent = [self.path or "", *self.headers.values(), self.body or "", json.dumps(self.json_value)]
            where = "path, headers, json or body"
        if any(TOKEN in text for text in sent):
            return []
        found: Found = []
        hint = f"the request has no {TOKEN} in its {where}, so its answer cannot have it"
        if TOKEN in (self.expect.contains or ""):
            found.append((("expect", "contains"), hint))
        if TOKEN in json.dumps(self.expect.json_value):
            found.append((("expect", "json"), hint))
        return found


class Fatal(RequestTable):
    """`[provoke.fatal]`: a request that the server dies of."""

    env: Variables = {}
    args: Arguments = []


def request_method(request: RequestTable) -> str:
    """The declared method; GET without a body and POST with one where none is declared; "gRPC" for such a request."""
    if request.is_grpc:
        return "gRPC"
    return request.method or ("POST" if request.has_json or request.body is not None else "GET")


def request_name(request: RequestTable) -> str:
    """The declared name, or method and path."""
    return request.name or f"{request_method(request)} {request_path(request)}"


def request_path(request: RequestTable) -> str:
    """The path; of a gRPC request the method that it calls."""
    return (request.rpc or inference.METHOD) if request.is_grpc else (request.path or "")


def request_port(request: RequestTable) -> str:
    """The name of the port that it goes to."""
    return (request.port or "grpc") if request.is_grpc else "http"


def fatal_name(fatal: Fatal) -> str:
    """The declared name, or "fatal"."""
    return fatal.name or "fatal"
