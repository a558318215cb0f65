"""Hypothesis strategies that derive malformed input from a request that the target understands.

Everything starts from the declared request, so that a case is wrong in one respect and right in all others: what a
server refuses is then what was made wrong, and the smallest failing case (which Hypothesis shrinks towards) shows it.
Fixed lists of known troubles are mixed with generated ones: neither finds what the other does.

Only types are changed inside a JSON body, never quantities: a number that is merely large may be valid and may cost a
server a lot, which would be its right.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from drainproof.faults.bad_clients.cases import TOKEN, Case, Ends
from drainproof.faults.bad_clients.rules import RULES
from drainproof.load.answer import with_token
from drainproof.load.plan import Request

Strategy = st.SearchStrategy[Case]

LARGE_BODY = 8 * 1024 * 1024
NESTING = 50_000

_INVALID_UTF8 = (b"\x80", b"\xff", b"\xc3(", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
"""A lone continuation, a byte that never occurs, a cut and an overlong sequence, a cut one of three bytes, a surrogate,
and a code point beyond the last."""

_TLS_HELLO = bytes.fromhex(
    "16030100a5010000a10303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0000"
    "0a130113021303c02bc02f0100006e00000010000e00000b6578616d706c652e636f6d"
)
"""The beginning of a client's first message to a port that it takes for HTTPS."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The declared request in bytes."""

    method: bytes
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    """All but Content-Length."""
    body: bytes
    value: Any
    """The body's JSON value; None where it is no JSON object or array."""

    @classmethod
    def of(cls, request: Request, *, host: str, port: int) -> Base:
        """From the manifest's request."""
        body = with_token(request.body, TOKEN).encode()
        headers = {"host": f"{host}:{port}", "connection": "close"}
        headers |= {
            k.lower(): with_token(v, TOKEN) for k, v in request.headers.items() if k.lower() != "content-length"
        }
        return cls(
            method=request.method.encode(),
            path=with_token(request.path, TOKEN).encode("ascii", "ignore"),
            headers=tuple((k.encode("latin-1"), v.encode("latin-1", "replace")) for k, v in headers.items()),
            body=body,
            value=json_value(body),
        )

    def head(
        self, *lines: bytes, request_line: bytes | None = None, without: tuple[bytes, ...] = (), end: bytes = b"\r\n"
    ) -> bytes:
        """A head with further header lines, and without some of its own."""
        first = request_line if request_line is not None else b"%s %s HTTP/1.1" % (self.method, self.path)
        own = [b"%s: %s" % (name, value) for name, value in self.headers if name not in without]
        return b"\r\n".join((first, *own, *lines, b"")) + end

    def framed(self, body: bytes, *lines: bytes, without: tuple[bytes, ...] = ()) -> bytes:
        """A well-formed HTTP message around `body`."""
        return self.head(b"content-length: %d" % len(body), *lines, without=without) + body


def json_value(body: bytes) -> Any:
    """The JSON object or array that `body` is, by the RFC's grammar; None otherwise."""
    try:
        value = json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def is_json(body: bytes) -> bool:
    """Whether `body` is a JSON text of any type, by the RFC's grammar."""
    try:
        json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return False
    return True


def strategies(base: Base) -> dict[str, Strategy]:
    """A strategy for each class that can be derived from `base`, by the names of `rules.RULES` and in their order."""
    made: dict[str, Callable[[Base], st.SearchStrategy[tuple[bytes | tuple[bytes, int], ...]]]] = {}
    if base.value is not None:
        made |= {
            "json-syntax": _json_syntax,
            "json-nesting": _json_nesting,
            "json-numbers": _json_numbers,
            "json-shape": _json_shape,
            "utf-8": _utf8,
            "content-type": _content_type,
        }
    made |= {
        "content-encoding": _content_encoding,
        "large-body": _large_body,
        "large-head": _large_head,
        "truncated-body": _truncated_body,
        "content-length": _content_length,
        "length-and-chunks": _length_and_chunks,
        "transfer-coding": _transfer_coding,
        "chunks": _chunks,
        "field-name-space": _field_name_space,
        "header-line": _header_line,
        "request-line": _request_line,
        "method": _method,
        "not-http": _not_http,
    }
    if base.value is None:
        del made["large-body"]  # white space may mean something to what is no JSON
    return {name: _cases(name, make(base)) for name, make in made.items()}


INCOMPLETE = frozenset({"truncated-body", "not-http"})
"""The classes whose messages are visibly incomplete."""


def _cases(name: str, raw: st.SearchStrategy[Any]) -> Strategy:
    ends: Ends = "now" if name in INCOMPLETE else "never" if RULES[name].framed else "late"

    def case(pieces: tuple[bytes | tuple[bytes, int], ...]) -> Case:
        parts = tuple((piece, 1) if isinstance(piece, bytes) else piece for piece in pieces)
        return Case(kind=name, parts=parts, ends=ends)

    return raw.map(case)


def _text(alphabet: str, *, least: int, most: int) -> st.SearchStrategy[bytes]:
    """Text of these characters. `st.text` would first compute tables of all of Unicode, which takes a second."""
    return st.lists(st.sampled_from(alphabet), min_size=least, max_size=most).map(
        lambda chosen: "".join(chosen).encode()
    )


# ---- Bodies, in a well-formed message


def _bodies(base: Base, bodies: st.SearchStrategy[bytes]) -> Any:
    return bodies.map(lambda body: (base.framed(body),))


def _json_syntax(base: Base) -> Any:
    body = base.body
    places = st.integers(0, len(body))
    structural = [i for i, byte in enumerate(body) if byte in b'{}[]":,']
    cut = st.integers(0, len(body) - 1).map(lambda i: body[:i])
    less = st.sampled_from(structural).map(lambda i: body[:i] + body[i + 1 :])
    more = st.builds(lambda i, c: body[:i] + c + body[i:], places, st.sampled_from([b'"', b"{", b"]", b",", b"'"]))
    behind = st.sampled_from([b"}", b"]", b",", b"x", b"\x00", body]).map(lambda tail: body + tail)
    text = _text('ab0 {}[]":,\\\n\x00é\u2028😀-.e', least=0, most=12)
    known = st.sampled_from([body.replace(b'"', b"'"), b"token=malformed", b"<a/>", b"{", b'"', b"\x00", b"{]"])
    return _bodies(base, st.one_of(cut, less, more, behind, text, known).filter(lambda b: not is_json(b)))


def _json_nesting(base: Base) -> Any:
    head = base.head(b"content-length: %d" % NESTING)
    return st.sampled_from([b"[", b'{"a":']).map(
        lambda opening: (
            (head, (opening, NESTING))
            if len(opening) == 1
            else (base.head(b"content-length: %d" % (NESTING * len(opening))), (opening, NESTING))
        )
    )


def _json_numbers(base: Base) -> Any:
    constants = st.sampled_from(["NaN", "Infinity", "-Infinity"])
    replaced = st.builds(
        lambda path, text: _with(base.value, path, _Raw(text)), st.sampled_from(_paths(base)), constants
    )
    return _bodies(base, st.one_of(constants.map(_Raw), replaced).map(_dump))


def _json_shape(base: Base) -> Any:
    paths = _paths(base)
    others: list[Any] = [None, True, 7, "text", [], {}, [7], {"a": 7}]
    whole = st.sampled_from([other for other in others if type(other) is not type(base.value)])
    changed = st.builds(
        lambda path, other: _with(base.value, path, other), st.sampled_from(paths), st.sampled_from(others)
    )
    less = st.sampled_from(paths).map(lambda path: _without(base.value, path))
    nested = st.builds(lambda path: _with(base.value, path, _at(base.value, path[:-1])), st.sampled_from(paths))
    different = st.one_of(changed, less, nested).filter(lambda value: not _same_types(value, base.value))
    return _bodies(base, st.one_of(whole, different).map(_dump))


def _utf8(base: Base) -> Any:
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


def _content_type(base: Base) -> Any:
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


def _content_encoding(base: Base) -> Any:
    codings = st.sampled_from([b"gzip", b"deflate", b"br", b"zstd", b"no-such-coding", b"gzip, gzip", b"", b","])
    bodies = st.sampled_from([base.body, b"", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab"])
    return st.builds(lambda coding, body: (base.framed(body, b"content-encoding: %s" % coding),), codings, bodies)


# ---- Sizes


def _large_body(base: Base) -> Any:
    def make(blanks: int) -> Any:
        return base.head(b"content-length: %d" % (blanks + len(base.body))), (b" ", blanks), base.body

    return st.sampled_from([LARGE_BODY, 2 * 1024 * 1024]).map(make)


def _large_head(base: Base) -> Any:
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


# ---- Framing


def _chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def _truncated_body(base: Base) -> Any:
    body = base.body
    short = st.integers(0, len(body) - 1).map(lambda i: (base.head(b"content-length: %d" % len(body)) + body[:i],))
    huge = st.sampled_from([10**9, 2**63, 10**30]).map(lambda n: (base.head(b"content-length: %d" % n) + body,))
    whole = _chunked(body)
    chunks = st.integers(0, len(whole) - 3).map(lambda i: (base.head(b"transfer-encoding: chunked") + whole[:i],))
    return st.one_of(short, huge, chunks)


def _content_length(base: Base) -> Any:
    n = len(base.body)
    known = [b"-1", b"+%d" % n, b"0x%x" % n, b"%d.0" % n, b"%d %d" % (n, n), b"%de0" % n, b"abc", b"%d," % (n + 1)]
    known += [
        b"%d_%s" % (n // 10, str(n % 10).encode()),
        b"-%d" % n,
        b"\xef\xbc\x91\xef\xbc\x92",
        b"%d, %d" % (n, n + 1),
        b"%d;" % n,
    ]
    invalid = st.sampled_from(known).map(lambda value: (base.head(b"content-length: %s" % value) + base.body,))
    two = st.sampled_from([(n, n + 1), (n + 1, n), (n, 0), (0, n)]).map(
        lambda pair: (base.head(b"content-length: %d" % pair[0], b"content-length: %d" % pair[1]) + base.body,)
    )
    return st.one_of(invalid, two)


def _length_and_chunks(base: Base) -> Any:
    chunked = b"transfer-encoding: chunked"
    lengths = st.sampled_from([len(base.body), 0, 5, len(_chunked(base.body)), 10**6])

    def make(length: int, first: bool) -> Any:
        lines = [b"content-length: %d" % length, chunked]
        return (base.head(*(lines if first else lines[::-1])) + _chunked(base.body),)

    return st.builds(make, lengths, st.booleans())


def _transfer_coding(base: Base) -> Any:
    codings = st.sampled_from([b"no-such-coding", b"xchunked", b"chunked, no-such-coding", b"chunkedd", b"\x0bchunked"])
    return codings.map(lambda coding: (base.head(b"transfer-encoding: %s" % coding) + _chunked(base.body),))


def _chunks(base: Base) -> Any:
    head, body = base.head(b"transfer-encoding: chunked"), base.body
    n, tail = len(body), b"\r\n0\r\n\r\n"
    known = [
        b"g",
        b"-1",
        b"-%x" % n,
        b"+%x" % n,
        b"0x%x" % n,
        b"",
        b";",
        b"\x00",
        b"f" * 17,
        b"%x_" % n,
        b"\xff",
        b"1 %x" % n,
    ]
    text = _text("ghijxyz!$%&'*.^`|~", least=1, most=6)
    sizes = st.one_of(st.sampled_from(known), text).map(lambda size: (head + size + b"\r\n" + body + tail,))
    wrong = st.sampled_from([-2, -1, 1]).map(lambda d: (head + b"%x\r\n" % (n + d) + body + tail,))
    end = st.sampled_from([b"XX", b"\r", b"0\r", b"ab\r\n"]).map(
        lambda junk: (head + b"%x\r\n" % n + body + junk + b"0\r\n\r\n",)
    )
    return st.one_of(sizes, wrong, end)


# ---- Heads


def _field_name_space(base: Base) -> Any:
    n = b"%d" % len(base.body)
    lines = [b"x-a : b", b"x-a\t: b", b"x-a  : b"]
    inside = st.sampled_from(lines).map(lambda line: (base.framed(base.body, line),))
    length = st.just((base.head(b"content-length : " + n) + base.body,))
    return st.one_of(inside, length)


def _header_line(base: Base) -> Any:
    known = [b"no colon", b": no name", b"x(a): b", b"x a: b", b"x-\xff: b", b"x-a: b\x00c", b"x-a: b\rc", b"x-a: \x01"]
    known += [b"x-a: b\r\n folded", b"x-a: \xff\xfe", b"\x00: b", b"x-a: b\x7f", b'"x": b', b"x-a"]
    name = _text('()<>@,;\\"/[]?={} ', least=1, most=4).map(lambda text: text + b": b")
    return st.one_of(st.sampled_from(known), name).map(lambda line: (base.framed(base.body, line),))


def _request_line(base: Base) -> Any:
    method, path = base.method, base.path
    known = [
        b"%s %s" % (method, path),
        b"%s" % method,
        b"%s  HTTP/1.1" % method,
        b"%s  %s  HTTP/1.1" % (method, path),
        b"%s %s HTTP/1.1 more" % (method, path),
        b"%s %s HTTP/9.9" % (method, path),
        b"%s %s HTTP/1" % (method, path),
        b"%s %s HTTP/a.b" % (method, path),
        b"%s %s HTTP/1.1000" % (method, path),
        b"%s %s http/1.1" % (method, path),
        b"%s %s HTTPS/1.1" % (method, path),
        b"P(ST %s HTTP/1.1" % path,
        b"%s\t%s\tHTTP/1.1" % (method, path),
        b"%s %s\xff HTTP/1.1" % (method, path),
        b"%s %s%%ff HTTP/1.1" % (method, path),
        b"%s %s%%zz HTTP/1.1" % (method, path),
        b"%s %s\x00 HTTP/1.1" % (method, path),
        b"%s /a b HTTP/1.1" % method,
        b"%s http:// HTTP/1.1" % method,
        b"%s http://[::1%s HTTP/1.1" % (method, path),
        b"%s * HTTP/1.1" % method,
        b"%s ../.. HTTP/1.1" % method,
    ]
    rest = base.framed(base.body).partition(b"\r\n")[2]
    return st.sampled_from(known).map(lambda line: (line + b"\r\n" + rest,))


def _method(base: Base) -> Any:
    known = [b"NOSUCH", base.method.lower(), b"%sX" % base.method, b"M-SEARCH", b"A" * 300, b"!", b"get"]
    rest = base.framed(base.body).removeprefix(base.method)
    return st.sampled_from(known).map(lambda method: (method + rest,))


def _not_http(base: Base) -> Any:
    known = [_TLS_HELLO, b"SSH-2.0-OpenSSH_9.6\r\n", b"\r\n\r\n", b"\x00" * 64, b"*1\r\n$4\r\nPING\r\n", b"{}\r\n\r\n"]
    anything = st.binary(min_size=1, max_size=48).filter(lambda data: not data.startswith(b"PRI"))
    return st.one_of(st.sampled_from(known), anything).map(lambda data: (data,))


# ---- JSON values by path


class _Raw(str):
    """Text that stands in the JSON as it is."""

    __slots__ = ()


def _dump(value: Any) -> bytes:
    if isinstance(value, _Raw):
        return str(value).encode()
    if isinstance(value, dict):
        return b"{%s}" % b", ".join(json.dumps(key).encode() + b": " + _dump(item) for key, item in value.items())
    if isinstance(value, list):
        return b"[%s]" % b", ".join(map(_dump, value))
    return json.dumps(value).encode()


def _paths(base: Base) -> list[tuple[Any, ...]]:
    """The paths of all keys and items, the outermost first."""
    found: list[tuple[Any, ...]] = []
    level: list[tuple[tuple[Any, ...], Any]] = [((), base.value)]
    while level:
        inner = []
        for path, value in level:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                found.append((*path, key))
                if isinstance(item, dict | list):
                    inner.append(((*path, key), item))
        level = inner
    return found or [()]


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _with(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    if isinstance(value, dict):
        return {key: _with(item, path[1:], other) if key == path[0] else item for key, item in value.items()}
    return [_with(item, path[1:], other) if i == path[0] else item for i, item in enumerate(value)]


def _without(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return None
    if len(path) > 1:
        return _with(value, path[:1], _without(value[path[0]], path[1:]))
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != path[0]}
    return [item for i, item in enumerate(value) if i != path[0]]


def _same_types(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same_types(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same_types, one, other))
    return True
