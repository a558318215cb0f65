"""The Open Inference Protocol's `ModelInfer`: its request message, from a table as the manifest has it.

The messages are those of the published protocol (package `inference`, `grpc_predict_v2.proto`), described here as far
as a request and its answer need them. They are made at run time in a pool of their own, so that there is nothing to
generate, and no clash with a copy of the same protocol that a user's process has loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

METHOD = "/inference.GRPCInferenceService/ModelInfer"

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the elements of a tensor are, by its datatype. Other datatypes have no place but `raw_input_contents`."""

_PARAMETERS = "map:InferParameter"

_MESSAGES: dict[str, list[tuple[int, str, str]]] = {
    "InferParameter": [
        (1, "bool_param", "bool"),
        (2, "int64_param", "int64"),
        (3, "string_param", "string"),
        (4, "double_param", "double"),
        (5, "uint64_param", "uint64"),
    ],
    "InferTensorContents": [
        (1, "bool_contents", "repeated bool"),
        (2, "int_contents", "repeated int32"),
        (3, "int64_contents", "repeated int64"),
        (4, "uint_contents", "repeated uint32"),
        (5, "uint64_contents", "repeated uint64"),
        (6, "fp32_contents", "repeated float"),
        (7, "fp64_contents", "repeated double"),
        (8, "bytes_contents", "repeated bytes"),
    ],
    "InferTensor": [  # ModelInferRequest.InferInputTensor and ModelInferResponse.InferOutputTensor are the same
        (1, "name", "string"),
        (2, "datatype", "string"),
        (3, "shape", "repeated int64"),
        (4, "parameters", _PARAMETERS),
        (5, "contents", "InferTensorContents"),
    ],
    "InferRequestedOutputTensor": [(1, "name", "string"), (2, "parameters", _PARAMETERS)],
    "ModelInferRequest": [
        (1, "model_name", "string"),
        (2, "model_version", "string"),
        (3, "id", "string"),
        (4, "parameters", _PARAMETERS),
        (5, "inputs", "repeated InferTensor"),
        (6, "outputs", "repeated InferRequestedOutputTensor"),
        (7, "raw_input_contents", "repeated bytes"),
    ],
    "ModelInferResponse": [
        (1, "model_name", "string"),
        (2, "model_version", "string"),
        (3, "id", "string"),
        (4, "parameters", _PARAMETERS),
        (5, "outputs", "repeated InferTensor"),
        (6, "raw_output_contents", "repeated bytes"),
    ],
}


def model_infer(
    *,
    model: str,
    inputs: Sequence[Mapping[str, Any]],
    version: str = "",
    id: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> bytes:
    """The message of a `ModelInferRequest`.

    Each of `inputs` has `name`, `datatype`, `data` (a list; texts for BYTES), and perhaps `shape` (default:
    one dimension) and `parameters`. Raises ValueError or TypeError where an element does not fit its datatype.
    """
    request = message_class("ModelInferRequest")(model_name=model, model_version=version, id=id)
    _set_parameters(request, parameters)
    for each in inputs:
        tensor = request.inputs.add(name=each["name"], datatype=each["datatype"])
        data = [item.encode() if isinstance(item, str) else item for item in each["data"]]
        tensor.shape.extend(each.get("shape") or [len(data)])
        getattr(tensor.contents, CONTENTS[each["datatype"]]).extend(data)
        _set_parameters(tensor, each.get("parameters"))
    return bytes(request.SerializeToString(deterministic=True))


def _set_parameters(message: Any, parameters: Mapping[str, Any] | None) -> None:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    for name, value in (parameters or {}).items():
        setattr(message.parameters[name], kinds[type(value)], value)


def message_class(name: str) -> Any:
    """The class of one of the protocol's messages."""
    return _classes()[name]


@cache
def _classes() -> dict[str, Any]:
    # Imported late: it takes longer than the rest of a manifest, and few manifests need it.
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415

    file = descriptor_pb2.FileDescriptorProto(name="grpc_predict_v2.proto", package="inference", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind in fields:
            _add_field(message, number, field_name, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}")) for name in _MESSAGES
    }


def _add_field(message: Any, number: int, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=1)
    if kind.startswith("repeated "):
        field.label, kind = 3, kind.removeprefix("repeated ")
    if kind.startswith("map:"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, 1, "key", "string")
        _add_field(entry, 2, "value", kind.removeprefix("map:"))
        field.label, kind = 3, f"{message.name}.{entry.name}"
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".inference.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
