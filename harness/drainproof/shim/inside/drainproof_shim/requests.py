"""Which request is being served: the URL path or gRPC method, for faults that are meant for some requests only."""

from __future__ import annotations

import contextvars
import functools
from types import ModuleType
from typing import Any, Callable

from drainproof_shim.imports import when_imported
from drainproof_shim.sites import wrapper

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
    when_imported("grpc.aio._server", _follow_registered("Server"))
    when_imported("grpc._server", _follow_registered("_Server"))


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
    """Methods that are looked up for each call, perhaps in another task than the one that runs what was found."""
    handlers: Any = getattr(module, "DictionaryGenericHandler", None)
    original = getattr(handlers, "service", None)
    if original is None:
        return

    @functools.wraps(original)
    def service(self: Any, handler_call_details: Any) -> Any:
        return _naming(original(self, handler_call_details), handler_call_details.method)

    handlers.service = service


def _follow_registered(name: str) -> Callable[[ModuleType], None]:
    """Methods that a server knows beforehand, as newer generated code has them; these are not looked up."""

    def hook(module: ModuleType) -> None:
        server: Any = getattr(module, name, None)
        original = getattr(server, "add_registered_method_handlers", None)
        if original is None:
            return

        @functools.wraps(original)
        def add(self: Any, service_name: str, method_handlers: Any) -> Any:
            named = {
                method: _naming(handler, "/{}/{}".format(service_name, method))
                for method, handler in method_handlers.items()
            }
            return original(self, service_name, named)

        server.add_registered_method_handlers = add

    return hook


_GRPC_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def _naming(handler: Any, method: str) -> Any:
    """A method's handler, whose function sets `current` when it begins to run."""
    if not hasattr(handler, "_replace"):  # none was found, or it is of a kind of its own
        return handler

    def enter(_: Any) -> None:
        current.set(method)

    functions = {kind: getattr(handler, kind, None) for kind in _GRPC_KINDS}
    return handler._replace(**{kind: wrapper(f, enter, lambda _: None) for kind, f in functions.items() if f})
