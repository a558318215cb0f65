"""One attempt at one request from an ordinary process: for the readiness check and for requests that are faults.

The load is made by the engine in a process of its own; this is for the few requests outside of it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from drainproof.load.answer import grpc_code, message_of, what_is_wrong, what_is_wrong_over_grpc, with_token
from drainproof.load.grpc_options import channel_options
from drainproof.load.plan import Protocol, Request


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of it. Times are CLOCK_MONOTONIC seconds."""

    t0: float
    t: float
    sent: bool
    """All bytes of the request were handed to the kernel over a connection that was accepted. gRPC: the connection was
    there, and the call was made."""
    status: int | None
    """The HTTP status, or the number of the gRPC status code; None where no answer came."""
    wrong: str | None
    """Why the answer is not right, or that none came; None for the right answer."""
    protocol: Protocol = "http"

    @property
    def right(self) -> bool:
        """The complete and right answer came."""
        return self.wrong is None

    @property
    def text(self) -> str:
        """The outcome as a phrase."""
        if self.status is None:
            return f"no answer: {self.wrong}"
        return f"it was answered with {grpc_code(self.status) if self.protocol == 'grpc' else self.status}"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "t0": self.t0,
            "t": self.t,
            "protocol": self.protocol,
            "status": self.status,
            "right": self.right,
            "wrong": self.wrong,
        }


def attempt(*, request: Request, host: str, port: int, token: str, timeout: float) -> Attempt:
    """Sends `request` once over a new connection and waits up to `timeout` seconds for each part of the answer.

    A gRPC answer, with all its messages, has `timeout` seconds as a whole.
    """
    if request.protocol == "grpc":
        return _grpc_attempt(request=request, host=host, port=port, token=token, timeout=timeout)
    t0 = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    sent, status = False, None
    try:
        headers = {key: with_token(value, token) for key, value in request.headers.items()}
        body = with_token(request.body, token).encode()
        path = with_token(request.path, token)
        connection.request(request.method, path, body=body or None, headers={**headers, "Connection": "close"})
        sent = True
        response = connection.getresponse()
        content = response.read()
        status = response.status
        wrong = what_is_wrong(request=request, token=token, status=status, body=content)
    except (OSError, http.client.HTTPException) as error:
        status, wrong = None, f"{type(error).__name__}: {error}".rstrip(": ")
    finally:
        connection.close()
    return Attempt(t0=t0, t=time.monotonic(), sent=sent, status=status, wrong=wrong)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """The JSON document that an answer holds. Exactly one of `status` and `failure` is set."""

    t0: float
    t: float
    status: int | None = None
    value: Any = None
    """None also where the body is no JSON."""
    failure: str | None = None


def fetch_json(*, request: Request, host: str, port: int, token: str = "", timeout: float = 5.0) -> Fetched:
    """Sends an HTTP request once over a new connection, for what its answer says."""
    t0 = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        headers = {key: with_token(value, token) for key, value in request.headers.items()}
        body = with_token(request.body, token).encode()
        path = with_token(request.path, token)
        connection.request(request.method, path, body=body or None, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        content = response.read()
    except (OSError, http.client.HTTPException) as error:
        return Fetched(t0=t0, t=time.monotonic(), failure=f"{type(error).__name__}: {error}".rstrip(": "))
    finally:
        connection.close()
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    return Fetched(t0=t0, t=time.monotonic(), status=response.status, value=value)


def _grpc_attempt(*, request: Request, host: str, port: int, token: str, timeout: float) -> Attempt:
    import grpc  # noqa: PLC0415 - only targets with gRPC requests pay for it

    t0 = time.monotonic()
    authority = f"{host}:{port}"
    sent, status, wrong = False, None, None
    with grpc.insecure_channel(authority, options=channel_options(authority=authority)) as channel:
        if (trouble := _connect(channel, timeout)) is not None:
            return Attempt(t0=t0, t=time.monotonic(), sent=False, status=None, wrong=trouble, protocol="grpc")
        sent = True
        metadata = [(name.lower(), with_token(value, token)) for name, value in request.headers.items()]
        call = channel.unary_stream(request.path)(message_of(request, token), metadata=metadata, timeout=timeout)
        messages = []
        with contextlib.suppress(grpc.RpcError):
            messages += list(call)
        code = call.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - t0 >= timeout:
            wrong = f"no status within {timeout:g} s"
        else:
            status = int(code.value[0])
            wrong = what_is_wrong_over_grpc(
                request=request,
                token=token,
                code=status,
                details=call.details() or "",
                messages=messages,
                count=len(messages),
            )
    return Attempt(t0=t0, t=time.monotonic(), sent=sent, status=status, wrong=wrong, protocol="grpc")


def _connect(channel: Any, timeout: float) -> str | None:
    """Waits until the channel is connected; what is wrong if it does not come to that."""
    import grpc  # noqa: PLC0415

    settled = threading.Event()
    last = [grpc.ChannelConnectivity.IDLE]

    def note(state: Any) -> None:
        last[0] = state
        if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            settled.set()

    channel.subscribe(note, try_to_connect=True)
    if not settled.wait(timeout):
        return f"no connection for gRPC within {timeout:g} s"
    return None if last[0] is grpc.ChannelConnectivity.READY else "no connection for gRPC could be made"
