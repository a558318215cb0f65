"""Strategies for messages whose head or framing is wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from drainproof.faults.bad_clients.base import Base
from drainproof.faults.bad_clients.bodies import Pieces, text

_TLS_HELLO = bytes.fromhex(
    "16030100a5010000a10303000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0000"
    "0a130113021303c02bc02f0100006e00000010000e00000b6578616d706c652e636f6d"
)
"""The beginning of a client's first message to a port that it takes for HTTPS."""


def _chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def truncated_body(base: Base) -> Pieces:
    """Fewer bytes, or chunks, than announced."""
    body = base.body
    short = st.integers(0, len(body) - 1).map(lambda i: (base.head(b"content-length: %d" % len(body)) + body[:i],))
    huge = st.sampled_from([10**9, 2**63, 10**30]).map(lambda n: (base.head(b"content-length: %d" % n) + body,))
    whole = _chunked(body)
    chunks = st.integers(0, len(whole) - 3).map(lambda i: (base.head(b"transfer-encoding: chunked") + whole[:i],))
    return st.one_of(short, huge, chunks)


def content_length(base: Base) -> Pieces:
    """A length that is no number, or two different ones; the body is there."""
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


def length_and_chunks(base: Base) -> Pieces:
    """A chunked body that has a length as well."""
    chunked = b"transfer-encoding: chunked"
    lengths = st.sampled_from([len(base.body), 0, 5, len(_chunked(base.body)), 10**6])

    def make(length: int, first: bool) -> Any:
        lines = [b"content-length: %d" % length, chunked]
        return (base.head(*(lines if first else lines[::-1])) + _chunked(base.body),)

    return st.builds(make, lengths, st.booleans())


def transfer_coding(base: Base) -> Pieces:
    """A transfer coding that nobody knows, or chunked that is not the last one."""
    codings = st.sampled_from([b"no-such-coding", b"xchunked", b"chunked, no-such-coding", b"chunkedd", b"\x0bchunked"])
    return codings.map(lambda coding: (base.head(b"transfer-encoding: %s" % coding) + _chunked(base.body),))


def chunks(base: Base) -> Pieces:
    """Chunks with a size that is none, or not theirs."""
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
    junk = text("ghijxyz!$%&'*.^`|~", least=1, most=6)
    sizes = st.one_of(st.sampled_from(known), junk).map(lambda size: (head + size + b"\r\n" + body + tail,))
    wrong = st.sampled_from([-2, -1, 1]).map(lambda d: (head + b"%x\r\n" % (n + d) + body + tail,))
    end = st.sampled_from([b"XX", b"\r", b"0\r", b"ab\r\n"]).map(
        lambda junk: (head + b"%x\r\n" % n + body + junk + b"0\r\n\r\n",)
    )
    return st.one_of(sizes, wrong, end)


# ---- Heads


def field_name_space(base: Base) -> Pieces:
    """White space between a field's name and its colon."""
    n = b"%d" % len(base.body)
    lines = [b"x-a : b", b"x-a\t: b", b"x-a  : b"]
    inside = st.sampled_from(lines).map(lambda line: (base.framed(base.body, line),))
    length = st.just((base.head(b"content-length : " + n) + base.body,))
    return st.one_of(inside, length)


def header_line(base: Base) -> Pieces:
    """A header line that breaks the grammar."""
    known = [b"no colon", b": no name", b"x(a): b", b"x a: b", b"x-\xff: b", b"x-a: b\x00c", b"x-a: b\rc", b"x-a: \x01"]
    known += [b"x-a: b\r\n folded", b"x-a: \xff\xfe", b"\x00: b", b"x-a: b\x7f", b'"x": b', b"x-a"]
    name = text('()<>@,;\\"/[]?={} ', least=1, most=4).map(lambda text: text + b": b")
    return st.one_of(st.sampled_from(known), name).map(lambda line: (base.framed(base.body, line),))


def request_line(base: Base) -> Pieces:
    """A request line that breaks the grammar, or a version that does not exist."""
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


def method(base: Base) -> Pieces:
    """A method that nobody knows."""
    known = [b"NOSUCH", base.method.lower(), b"%sX" % base.method, b"M-SEARCH", b"A" * 300, b"!", b"get"]
    rest = base.framed(base.body).removeprefix(base.method)
    return st.sampled_from(known).map(lambda method: (method + rest,))


def not_http(base: Base) -> Pieces:
    """A TLS handshake, another protocol, or any bytes."""
    known = [_TLS_HELLO, b"SSH-2.0-OpenSSH_9.6\r\n", b"\r\n\r\n", b"\x00" * 64, b"*1\r\n$4\r\nPING\r\n", b"{}\r\n\r\n"]
    anything = st.binary(min_size=1, max_size=48).filter(lambda data: not data.startswith(b"PRI"))
    return st.one_of(st.sampled_from(known), anything).map(lambda data: (data,))
