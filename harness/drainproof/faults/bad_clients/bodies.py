"""Strategies for bodies that are wrong within a well-formed message, and for sizes beyond any use.

Only types are changed inside a JSON body, never quantities: a number that is merely large may be valid and may cost a
server a lot, which would be its right.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from drainproof.faults.bad_clients.base import Base, is_json
from drainproof.faults.bad_clients.shapes import Raw, at, dump, paths, replaced, same_types, without

Pieces = st.SearchStrategy[Any]
"""Of tuples: bytes, or bytes with a number of times."""

LARGE_BODY = 8 * 1024 * 1024
NESTING = 50_000

_INVALID_UTF8 = (b"\x80", b"\xff", b"\xc3(", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
"""A lone continuation, a byte that never occurs, a cut and an overlong sequence, a cut one of three bytes, a surrogate,
and a code point beyond the last."""


def text(alphabet: str, *, least: int, most: int) -> st.SearchStrategy[bytes]:
    """Text of these characters. `st.text` would first compute tables of all of Unicode, which takes a second."""
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(
        lambda chosen: "".join(chosen).encode()
    )


def _bodies(base: Base, bodies: st.SearchStrategy[bytes]) -> Pieces:
    return bodies.map(lambda body: (base.framed(body),))


def json_syntax(base: Base) -> Pieces:
    """A body that is no JSON."""
    body = base.body
    places = st.integers(0, len(body))
    structural = [i for i, byte in enumerate(body) if byte in b'{}[]":,']
    cut = st.integers(0, len(body) - 1).map(lambda i: body[:i])
    less = st.sampled_from(structural).map(lambda i: body[:i] + body[i + 1 :])
    more = st.builds(lambda i, c: body[:i] + c + body[i:], places, st.sampled_from([b'"', b"{", b"]", b",", b"'"]))
    behind = st.sampled_from([b"}", b"]", b",", b"x", b"\x00", body]).map(lambda tail: body + tail)
    words = text('ab0 {}[]":,\\\n\x00é\u2028😀-.e', least=0, most=12)
    known = st.sampled_from([body.replace(b'"', b"'"), b"token=malformed", b"<a/>", b"{", b'"', b"\x00", b"{]"])
    return _bodies(base, st.one_of(cut, less, more, behind, words, known).filter(lambda b: not is_json(b)))


def json_nesting(base: Base) -> Pieces:
    """Brackets that open and never close."""
    head = base.head(b"content-length: %d" % NESTING)
    return st.sampled_from([b"[", b'{"a":']).map(
        lambda opening: (
            (head, (opening, NESTING))
            if len(opening) == 1
            else (base.head(b"content-length: %d" % (NESTING * len(opening))), (opening, NESTING))
        )
    )


def json_numbers(base: Base) -> Pieces:
    """`NaN` and `Infinity`, as the whole body or in place of a value."""
    constants = st.sampled_from(["NaN", "Infinity", "-Infinity"])
    inside = st.builds(
        lambda path, name: replaced(base.value, path, Raw(name)), st.sampled_from(paths(base.value)), constants
    )
    return _bodies(base, st.one_of(constants.map(Raw), inside).map(dump))


def json_shape(base: Base) -> Pieces:
    """JSON of another shape."""
    places = paths(base.value)
    others: list[Any] = [None, True, 7, "text", [], {}, [7], {"a": 7}]
    whole = st.sampled_from([other for other in others if type(other) is not type(base.value)])
    changed = st.builds(
        lambda path, other: replaced(base.value, path, other), st.sampled_from(places), st.sampled_from(others)
    )
    less = st.sampled_from(places).map(lambda path: without(base.value, path))
    nested = st.builds(lambda path: replaced(base.value, path, at(base.value, path[:-1])), st.sampled_from(places))
    different = st.one_of(changed, less, nested).filter(lambda value: not same_types(value, base.value))
    return _bodies(base, st.one_of(whole, different).map(dump))


def utf8(base: Base) -> Pieces:
    """Bytes that are no UTF-8, mostly within a string."""
    body = base.body
    within = [i + 1 for i, byte in enumerate(body) if byte == ord('"')]
    places = st.one_of(st.sampled_from(within or [0]), st.integers(0, len(body)))
    put = st.builds(lambda i, bad: body[:i] + bad + body[i:], places, st.sampled_from(_INVALID_UTF8))
    return _bodies(base, put.filter(_no_utf8))


def _no_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


def content_type(base: Base) -> Pieces:
    """The right body with another content type."""
    known = [
        None,
        b"text/plain",
        b"application/octet-stream",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"application/json; charset=no-such-charset",
        b"application/json; charset=utf-16",
        b"application/json; charset",
        b"application/",
        b"/",
        b";",
        b"",
    ]
    return st.sampled_from(known).map(
        lambda value: (
            base.framed(
                base.body, *([] if value is None else [b"content-type: %s" % value]), without=(b"content-type",)
            ),
        )
    )


def content_encoding(base: Base) -> Pieces:
    """A content coding that the body does not have."""
    codings = st.sampled_from([b"gzip", b"deflate", b"br", b"zstd", b"no-such-coding", b"gzip, gzip", b"", b","])
    bodies = st.sampled_from([base.body, b"", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab"])
    return st.builds(lambda coding, body: (base.framed(body, b"content-encoding: %s" % coding),), codings, bodies)


def large_body(base: Base) -> Pieces:
    """Megabytes of white space in front of the right body."""

    def make(blanks: int) -> Any:
        return base.head(b"content-length: %d" % (blanks + len(base.body))), (b" ", blanks), base.body

    return st.sampled_from([LARGE_BODY, 2 * 1024 * 1024]).map(make)


def large_head(base: Base) -> Pieces:
    """A long line, many lines, or a long target."""
    head = base.head(b"content-length: %d" % len(base.body), end=b"")
    line = st.sampled_from([2**16, 2**17, 2**18]).map(lambda n: (head + b"x-a: ", (b"a", n), b"\r\n\r\n" + base.body))
    lines = st.sampled_from([1000, 10_000]).map(lambda n: (head, (b"x-a: a\r\n", n), b"\r\n" + base.body))
    target = st.sampled_from([2**16, 2**17]).map(
        lambda n: (
            b"%s %s?" % (base.method, base.path),
            (b"a", n),
            base.framed(base.body).removeprefix(b"%s %s" % (base.method, base.path)),
        )
    )
    return st.one_of(line, lines, target)
