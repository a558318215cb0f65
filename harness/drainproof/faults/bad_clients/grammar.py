"""Hypothesis strategies that derive malformed input from a request that the target understands.

Everything starts from the declared request, so that a case is wrong in one respect and right in all others: what a
server refuses is then what was made wrong, and the smallest failing case (which Hypothesis shrinks towards) shows it.
Fixed lists of known troubles are mixed with generated ones: neither finds what the other does.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from drainproof.faults.bad_clients import bodies, framing
from drainproof.faults.bad_clients.base import Base
from drainproof.faults.bad_clients.bodies import Pieces
from drainproof.faults.bad_clients.cases import Case, Ends
from drainproof.faults.bad_clients.rules import RULES

Make = Callable[[Base], Pieces]

JSON: dict[str, Make] = {
    "json-syntax": bodies.json_syntax,
    "json-nesting": bodies.json_nesting,
    "json-numbers": bodies.json_numbers,
    "json-shape": bodies.json_shape,
    "utf-8": bodies.utf8,
    "content-type": bodies.content_type,
    "large-body": bodies.large_body,  # white space may mean something to what is no JSON
}
"""The classes that need a JSON object or array."""

ANY: dict[str, Make] = {
    "content-encoding": bodies.content_encoding,
    "large-head": bodies.large_head,
    "truncated-body": framing.truncated_body,
    "content-length": framing.content_length,
    "length-and-chunks": framing.length_and_chunks,
    "transfer-coding": framing.transfer_coding,
    "chunks": framing.chunks,
    "field-name-space": framing.field_name_space,
    "header-line": framing.header_line,
    "request-line": framing.request_line,
    "method": framing.method,
    "not-http": framing.not_http,
}

INCOMPLETE = frozenset({"truncated-body", "not-http"})
"""The classes whose messages are visibly incomplete."""


def strategies(base: Base) -> dict[str, st.SearchStrategy[Case]]:
    """A strategy for each class that can be derived from `base`, by the names of `rules.RULES` and in their order."""
    made = ANY if base.value is None else {**JSON, **ANY}
    return {name: _cases(name, made[name](base)) for name in RULES if name in made}


def _cases(name: str, pieces: Pieces) -> st.SearchStrategy[Case]:
    ends: Ends = "now" if name in INCOMPLETE else "never" if RULES[name].framed else "late"

    def case(pieces: tuple[bytes | tuple[bytes, int], ...]) -> Case:
        parts = tuple((piece, 1) if isinstance(piece, bytes) else piece for piece in pieces)
        return Case(kind=name, parts=parts, ends=ends)

    return pieces.map(case)
