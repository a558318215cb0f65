"""Which request is being served: the URL path or gRPC method, for faults that are meant for some requests only."""

from __future__ import annotations

import contextvars
import functools
from types import ModuleType
from typing import Any, Callable

from drainproof_shim.imports import when_imported

current: contextvars.ContextVar[str | None] = contextvars.ContextVar("drainproof_shim_request", default=None)

PROTOCOLS = ("h11_impl", "httptools_impl", "zttp_impl", "zttp_h2_impl")
"""uvicorn's modules that serve HTTP, each with a `RequestResponseCycle`."""

_state = {"follows": False}


def follow() -> None:
    """Keep `current` up to date from now on. To be called more than once."""
    if _state["follows"]:
        return
    _state["follows"] = True
    for name in PROTOCOLS:
        when_imported("uvicorn.protocols.http." + name, _follow_uvicorn)
    when_imported("starlette.applications", _follow_asgi("Starlette"))
    when_imported("hypercorn.app_wrappers", _follow_asgi("ASGIWrapper"))
    when_imported("grpc._utilities", _follow_grpc)


def _follow_uvicorn(module: ModuleType) -> None:
    cycle: Any = getattr(module, "RequestResponseCycle", None)
    original = getattr(cycle, "run_asgi", None)
    if original is None:
        return

    @functools.wraps(original)
    async def run_asgi(self: Any, app: Any) -> Any:
        current.set(self.scope.get("path"))
        return await original(self, app)

    cycle.run_asgi = run_asgi


def _follow_asgi(name: str) -> Callable[[ModuleType], None]:
    def hook(module: ModuleType) -> None:
        application: Any = getattr(module, name, None)
        original = getattr(application, "__call__", None)  # noqa: B004 - to be replaced, not to be called
        if original is None:
            return

        @functools.wraps(original)
        async def call(self: Any, scope: Any, *rest: Any, **named: Any) -> Any:
            if scope.get("type") == "http" and current.get() is None:
                current.set(scope.get("path"))
            return await original(self, scope, *rest, **named)

        application.__call__ = call

    return hook


def _follow_grpc(module: ModuleType) -> None:
    """grpc.aio looks a method's handler up in the task that then runs it."""
    handlers: Any = getattr(module, "DictionaryGenericHandler", None)
    original = getattr(handlers, "service", None)
    if original is None:
        return

    @functools.wraps(original)
    def service(self: Any, handler_call_details: Any) -> Any:
        current.set(handler_call_details.method)
        return original(self, handler_call_details)

    handlers.service = service
