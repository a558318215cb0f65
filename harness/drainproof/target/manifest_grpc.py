"""The keys of a `[[request]]` that goes to a gRPC method: what is called, with which message, and what is right."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field, PlainValidator, model_validator

from drainproof.load import inference
from drainproof.nearest import did_you_mean
from drainproof.target.manifest_section import Found, Section, complain
from drainproof.target.manifest_values import Name, Text
from drainproof.target.mistakes import wrong

MESSAGE_KEYS = ("message", "message_base64", "message_file", "model_infer")


def _datatype(value: Any) -> str:
    if value in inference.CONTENTS:
        return str(value)
    suggestion = did_you_mean(value.upper(), inference.CONTENTS) if isinstance(value, str) else ""
    if value in ("FP16", "BF16"):
        suggestion = " Numbers of this size have no place in the message; give the whole message as message_file."
    raise wrong(f"expected a datatype of the Open Inference Protocol: {', '.join(inference.CONTENTS)}.{suggestion}")


def _shape(value: Any) -> list[int]:
    if not isinstance(value, list) or not all(type(each) is int and each >= 0 for each in value):
        raise wrong("expected an array of sizes, such as [1, 4]")
    return value


def _data(value: Any) -> list[Any]:
    if not isinstance(value, list) or any(isinstance(each, (list, dict)) for each in value):
        raise wrong("expected an array of the tensor's elements, without nesting; shape gives its dimensions")
    return value


def _parameters(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(each, (bool, int, float, str)) for each in value.values()):
        raise wrong("expected a table of truths, numbers and strings")
    return value


def _base64(value: Any) -> bytes:
    try:
        return b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise wrong("expected bytes as base64, in a string") from error


Base64 = Annotated[bytes, PlainValidator(_base64)]


class Tensor(Section):
    """One of `model_infer.inputs`."""

    name: Name = Field(description="the name of the input tensor")
    datatype: Annotated[str, PlainValidator(_datatype)] = Field(description='its datatype, such as "FP32" or "BYTES"')
    data: Annotated[list[Any], PlainValidator(_data)] = Field(description="its elements")
    shape: Annotated[list[int] | None, PlainValidator(_shape)] = None
    parameters: Annotated[dict[str, Any], PlainValidator(_parameters)] = {}

    @model_validator(mode="after")
    def _check(self) -> Tensor:
        found: Found = []
        size = 1
        for each in self.shape or [len(self.data)]:
            size *= each
        if size != len(self.data):
            found.append((("shape",), f"this is the shape of {size} elements, and data has {len(self.data)}"))
        try:
            inference.model_infer(model="", inputs=[self.model_dump()])
        except (TypeError, ValueError, AttributeError) as error:
            found.append((("data",), f"these are no elements of a tensor of {self.datatype}: {error}"))
        complain(found)
        return self


class ModelInfer(Section):
    """`model_infer`: a request of the Open Inference Protocol."""

    model: Name = Field(description="the name of the model")
    version: Text = ""
    id: Text = ""
    inputs: list[Tensor] = Field(description="the input tensors")
    parameters: Annotated[dict[str, Any], PlainValidator(_parameters)] = {}


class GrpcTable(Protocol):
    """What only a gRPC request has; `manifest_models.RequestTable` is one."""

    @property
    def rpc(self) -> str | None: ...  # noqa: D102

    @property
    def port(self) -> str | None: ...  # noqa: D102

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102

    @property
    def message(self) -> str | None: ...  # noqa: D102

    @property
    def message_base64(self) -> bytes | None: ...  # noqa: D102

    @property
    def message_file(self) -> str | None: ...  # noqa: D102

    @property
    def model_infer(self) -> ModelInfer | None: ...  # noqa: D102


def grpc_keys(table: GrpcTable) -> list[str]:
    """The keys for gRPC that were given."""
    return [name for name in ("rpc", "port", *MESSAGE_KEYS) if getattr(table, name) is not None]


def grpc_mistakes(table: GrpcTable, folder: Path) -> Found:
    """What is wrong with a gRPC request, apart from its values. `folder`: the manifest's."""
    found: Found = []
    if table.rpc is None and table.model_infer is None:
        found.append((("rpc",), 'missing; expected the method to call, such as "/package.Service/Method"'))
    given = [name for name in MESSAGE_KEYS if getattr(table, name) is not None]
    found += [((name,), f"there is {given[0]} already; a request has one message") for name in given[1:]]
    if table.message_file is not None and not (folder / table.message_file).is_file():
        found.append((("message_file",), f"there is no such file in {folder}"))
    text = "a name that ends in -bin is for bytes, and values here are text; expected another name"
    found += [(("headers", name), text) for name in table.headers if name.lower().endswith("-bin")]
    return found


def message_bytes(table: GrpcTable, folder: Path) -> bytes:
    """The message, still with `{token}` in it."""
    if table.model_infer is not None:
        return inference.model_infer(**table.model_infer.model_dump())
    if table.message_file is not None:
        return (folder / table.message_file).read_bytes()
    return table.message_base64 or (table.message or "").encode()


def message_text(table: GrpcTable, folder: Path) -> str:
    """The message as the plan has it: base64."""
    return b64encode(message_bytes(table, folder)).decode()
