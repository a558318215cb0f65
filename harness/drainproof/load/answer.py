"""Is this the right answer? The one definition of it, for the load engine and for the readiness check."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from drainproof.load.messages import filled
from drainproof.load.plan import Expectation, Request

TOKEN = "{token}"

GRPC_CODES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""The status codes of gRPC by their number."""


def with_token(text: str, token: str) -> str:
    """`text` with every `{token}` replaced; braces elsewhere stay as they are."""
    return text.replace(TOKEN, token)


def what_is_wrong(*, request: Request, token: str, status: int, body: bytes) -> str | None:
    """What is not right about a complete answer to `request`, as a short phrase; None if it is right."""
    expect: Expectation = request.expect
    if status not in expect.status:
        return f"status {status} instead of {' or '.join(map(str, expect.status))}"
    if expect.contains is not None and with_token(expect.contains, token).encode() not in body:
        return f"the body does not contain {with_token(expect.contains, token)!r}"
    if expect.json is None:
        return None
    try:
        value = json.loads(body)
    except ValueError:
        return "the body is not JSON"
    return _missing(_filled(expect.json, token), value, "the body")


def what_is_wrong_over_grpc(
    *, request: Request, token: str, code: int, details: str, messages: Sequence[bytes], count: int
) -> str | None:
    """The same for a gRPC answer that came to its status `code`: `count` messages, the first ones in `messages`."""
    expect = request.expect
    if code not in expect.status:
        wanted = " or ".join(grpc_code(each) for each in expect.status)
        return f"status {grpc_code(code)} instead of {wanted}" + (f" ({details[:200]})" if details else "")
    wanted_count = expect.messages if request.stream else (1 if code == 0 else count)
    if wanted_count is not None and count != wanted_count:
        return f"{count} messages instead of {wanted_count}"
    if expect.contains is None:
        return None
    text = with_token(expect.contains, token)
    for number, message in enumerate(messages):
        if text.encode() not in message:
            which = f"message {number} of the stream" if request.stream else "the message"
            return f"{which} does not contain {text!r}"
    return None if messages else f"there is no message that could contain {text!r}"


def grpc_code(number: int) -> str:
    """The name of a gRPC status code."""
    return GRPC_CODES[number] if 0 <= number < len(GRPC_CODES) else str(number)


def message_of(request: Request, token: str) -> bytes:
    """The message of a gRPC request with its token."""
    return filled(request.message, token.encode())


def _filled(value: Any, token: str) -> Any:
    if isinstance(value, str):
        return with_token(value, token)
    if isinstance(value, list):
        return [_filled(item, token) for item in value]
    if isinstance(value, dict):
        return {with_token(key, token): _filled(item, token) for key, item in value.items()}
    return value


def _missing(expected: Any, value: Any, where: str) -> str | None:
    if not isinstance(expected, dict):
        return None if _same(expected, value) else f"{where} is {_short(value)} instead of {_short(expected)}"
    if not isinstance(value, dict):
        return f"{where} is {_short(value)} instead of an object"
    for key, item in expected.items():
        if key not in value:
            return f"{where} has no {key!r}"
        if (found := _missing(item, value[key], f"{where}[{key!r}]")) is not None:
            return found
    return None


def _same(expected: Any, value: Any) -> bool:
    return bool(expected == value and isinstance(expected, bool) == isinstance(value, bool))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
