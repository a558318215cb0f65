"""Raw messages of gRPC requests: how `{token}` in them is replaced by a request's own token.

A token is longer than its placeholder. In a Protobuf message that breaks the length that stands in front of the field,
and in front of each message around it. So a message that reads as Protobuf is taken apart as far as the placeholder
goes, and put together again with the right lengths; no schema is needed for that, because the wire format tells where
a field ends. Bytes that do not read as Protobuf have no lengths that we know of, and are replaced as they are.
Lost: a placeholder that must be as long as a token (nobody can write that by hand), and a schema for every message.
"""

from __future__ import annotations

from collections.abc import Iterator

TOKEN = b"{token}"

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


def filled(message: bytes, token: bytes) -> bytes:
    """`message` with every placeholder replaced by `token`, and the lengths around it set right."""
    if TOKEN not in message:
        return message
    fields = _fields(message)
    return message.replace(TOKEN, token) if fields is None else _filled_fields(fields, token)


def _filled_fields(fields: list[tuple[bytes, bytes | None]], token: bytes) -> bytes:
    done = []
    for head, content in fields:
        done.append(head)
        if content is not None:
            new = filled(content, token)
            done += [_varint(len(new)), new]
    return b"".join(done)


def _fields(message: bytes) -> list[tuple[bytes, bytes | None]] | None:
    """The fields of a Protobuf message: (tag, content) of delimited ones, (all of it, None) of others.

    None where it is none, or where a placeholder is not inside of a delimited field.
    """
    try:
        fields = list(_read(message))
    except (IndexError, ValueError):
        return None
    within = sum(content.count(TOKEN) for _, content in fields if content is not None)
    return fields if within == message.count(TOKEN) else None


def _read(message: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    position = 0
    while position < len(message):
        tag, after_tag = _number(message, position)
        if tag >> 3 == 0:
            raise ValueError("there is no field 0")
        kind = tag & 7
        if kind == DELIMITED:
            size, begin = _number(message, after_tag)
            end = begin + size
            yield message[position:after_tag], message[begin:end]
        elif kind in (FIXED64, FIXED32):
            end = after_tag + (8 if kind == FIXED64 else 4)
            yield message[position:end], None
        elif kind == VARINT:
            _, end = _number(message, after_tag)
            yield message[position:end], None
        else:
            raise ValueError("a group, or no field at all")
        if end > len(message):
            raise ValueError("cut off")
        position = end


def _number(message: bytes, position: int) -> tuple[int, int]:
    """A varint, and the position behind it. Raises IndexError at the end, ValueError where it is too long."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a varint has at most ten bytes")


def _varint(value: int) -> bytes:
    done = bytearray()
    while value > 0x7F:
        done.append(value & 0x7F | 0x80)
        value >>= 7
    done.append(value)
    return bytes(done)
