"""Tokens in raw messages, the messages of the inference protocol, and the frames of HTTP/2 in any pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from drainproof.load.engine.frames import DATA, GOAWAY, HEADERS, Frame, FrameReader, MessageCounter
from drainproof.load.inference import message_class, model_infer
from drainproof.load.messages import filled
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_grpc_server import frame, message


@settings(deadline=None)
@given(
    name=st.text(max_size=40),
    items=st.lists(st.text(max_size=200), max_size=4),
    token=st.integers(min_value=1, max_value=400).map(lambda size: "t" * size),
)
def test_a_token_in_nested_messages_keeps_them_whole(name: str, items: list[str], token: str) -> None:
    inputs = [{"name": "a", "datatype": "BYTES", "data": [f"<{item}{{token}}>" for item in items], "shape": [9, 9]}]
    made = model_infer(model=name, id="{token}", inputs=inputs, parameters={"p": "{token}{token}", "n": 2})
    read = message_class("ModelInferRequest").FromString(filled(made, token.encode()))
    assert (read.model_name, read.id) == (name.replace("{token}", token), token)
    contents = [f"<{item}{{token}}>".replace("{token}", token).encode() for item in items]
    assert list(read.inputs[0].contents.bytes_contents) == contents
    assert (read.parameters["p"].string_param, read.parameters["n"].int64_param) == (token * 2, 2)


@pytest.mark.parametrize(
    ("given_bytes", "expected"),
    [
        (b"{token} 5", b"ABC 5"),
        (b"", b""),
        (b"\x08\x05", b"\x08\x05"),
        (b"\x0a\x07{token}", b"\x0a\x03ABC"),
        (b"\x0a\x07{token}\x08", b"\x0a\x07ABC\x08"),  # cut off, so no message
        (b"\x09{token}1", b"\x09ABC1"),  # within a number
        (b"\x0a\x09\x0a\x07{token}\x10\x05", b"\x0a\x05\x0a\x03ABC\x10\x05"),
        (b"\xff{token}", b"\xffABC"),
    ],
)
def test_bytes_that_are_no_message_are_replaced_as_they_are(given_bytes: bytes, expected: bytes) -> None:
    assert filled(given_bytes, b"ABC") == expected


WIRE = b"".join(
    [
        b"P" * 24,
        frame(4, 0, 0, b""),
        frame(HEADERS, 4, 1, b"x" * 30),
        frame(DATA, 0, 1, message(b"one") + message(b"")[:3]),
        frame(DATA, 1, 1, message(b"")[3:] + message(b"y" * 300)),
        frame(GOAWAY, 0, 0, b"\0\0\0\x07\0\0\0\x02" + b"debug"),
    ]
)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=len(WIRE)), max_size=30))
def test_frames_are_the_same_in_any_pieces(cuts: list[int]) -> None:
    reader, counter = FrameReader(preface=24), MessageCounter()
    places = sorted({0, *cuts, len(WIRE)})
    found: list[Frame] = []
    for begin, end in pairwise(places):
        for each in reader.feed(WIRE[begin:end]):
            if each.kind == DATA:
                counter.feed(each.payload)
            if each.complete:
                found.append(each)
    assert [(f.kind, f.stream, f.ends_stream) for f in found] == [
        (4, 0, False),
        (HEADERS, 1, False),
        (DATA, 1, False),
        (DATA, 1, True),
        (GOAWAY, 0, False),
    ]
    assert found[-1].numbers() == (7, 2)
    assert (counter.count, counter.within) == (3, False)


def test_a_message_that_ends_within_is_seen() -> None:
    counter = MessageCounter()
    counter.feed(message(b"whole") + message(b"half of it")[:-1])
    assert (counter.count, counter.within) == (1, True)
    counter.feed(b"t")
    assert (counter.count, counter.within) == (2, False)
