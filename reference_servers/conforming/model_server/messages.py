"""The two messages of the Open Inference Protocol that this server understands, to and from bytes, by hand.

Only what `ModelInfer` needs here is read: the model's name, the id, and the input tensors `token` (BYTES) and `seconds`
(FP64), with their contents in the tensor or in `raw_input_contents`. Unknown fields are skipped, as Protocol Buffers
ask for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types."""

LONGEST_VARINT = 10

Field = tuple[int, int | bytes]


class MessageError(ValueError):
    """The bytes are no such message; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """What a `ModelInferRequest` asks for."""

    model: str
    id: str
    token: str
    seconds: float


def parse_request(data: bytes) -> Inference:
    """The request in the bytes of a `ModelInferRequest`. Raises MessageError."""
    model = id_ = ""
    tensors: list[tuple[str, bytes | None]] = []
    raw: list[bytes] = []
    for number, value in fields(data):
        if number == 1:
            model = text(value)
        elif number == 3:
            id_ = text(value)
        elif number == 5:
            tensors.append(tensor(value))
        elif number == 7:
            raw.append(as_bytes(value))
    if raw:
        if len(raw) != len(tensors):
            raise MessageError(f"{len(tensors)} inputs and {len(raw)} raw contents")
        # The length before a string is in the way of its bytes only, a number is written as in the tensor.
        values = {name: one[4:] if name == "token" else one for (name, _), one in zip(tensors, raw, strict=True)}
    else:
        values = {name: contents for name, contents in tensors if contents is not None}
    if "token" not in values:
        raise MessageError("expected an input tensor `token` with one element")
    return Inference(model=model, id=id_, token=text(values["token"]), seconds=number_in(values.get("seconds")))


def serialize_answer(*, inference: Inference) -> bytes:
    """The bytes of a `ModelInferResponse` with the token."""
    contents = field(8, inference.token.encode())
    output = field(1, b"token") + field(2, b"BYTES") + field(3, b"\x01") + field(5, contents)
    return field(1, inference.model.encode()) + field(3, inference.id.encode()) + field(5, output)


def tensor(value: int | bytes) -> tuple[str, bytes | None]:
    """Name and first element (its bytes) of an `InferInputTensor`."""
    name, element = "", None
    for number, inner in fields(as_bytes(value)):
        if number == 1:
            name = text(inner)
        elif number == 5:
            for kind, content in fields(as_bytes(inner)):
                if kind in (7, 8):  # fp64_contents, packed or not, and bytes_contents
                    element = as_bytes(content)
    return name, element


def number_in(element: bytes | None) -> float:
    """The double in eight bytes; 0 where the tensor was not given."""
    if element is None:
        return 0.0
    if len(element) != 8:
        raise MessageError("expected one FP64 element in `seconds`")
    value: float = struct.unpack("<d", element)[0]
    return value


def text(value: int | bytes) -> str:
    """A string field."""
    try:
        return as_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise MessageError(f"not UTF-8: {error}") from error


def as_bytes(value: int | bytes) -> bytes:
    """The value of a field that has a length."""
    if isinstance(value, int):
        raise MessageError("a number where bytes were expected")
    return value


def fields(data: bytes) -> Iterator[Field]:
    """Number and value of each field. Raises MessageError."""
    position = 0
    while position < len(data):
        tag, position = varint(data, position)
        if tag & 7 == VARINT:
            value, position = varint(data, position)
            yield tag >> 3, value
            continue
        if tag & 7 == BYTES:
            length, position = varint(data, position)
        elif tag & 7 in (FIXED64, FIXED32):
            length = 8 if tag & 7 == FIXED64 else 4
        else:
            raise MessageError(f"unknown wire type {tag & 7}")
        if position + length > len(data):
            raise MessageError("cut off")
        yield tag >> 3, data[position : position + length]
        position += length


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, and the position behind it."""
    value = 0
    for index, byte in enumerate(data[position : position + LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise MessageError("cut off in a number")


def field(number: int, value: bytes) -> bytes:
    """A field with a length."""
    return encoded(number << 3 | BYTES) + encoded(len(value)) + value


def encoded(value: int) -> bytes:
    """A number as a varint."""
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
