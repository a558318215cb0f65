"""Which request is being served: the URL path or gRPC method, for faults that are meant for some requests only.

A path is known by two names where the server stands below a root path: whether `path` begins with it depends on server,
release, and proxy (uvicorn puts it before what the client asked for, hypercorn wants the client to ask with it).
"""

from __future__ import annotations

import contextvars
import functools
from types import ModuleType
from typing import Any, Callable, Mapping, Tuple

from drainproof_shim.imports import when_imported
from drainproof_shim.sites import wrapper

Names = Tuple[str, ...]

current: contextvars.ContextVar[Names | None] = contextvars.ContextVar("drainproof_shim_request", default=None)
"""Every name of the request; None where no server tells."""

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


def _names(scope: Mapping[str, Any]) -> Names | None:
    path, root = scope.get("path"), (scope.get("root_path") or "").rstrip("/")
    if path is None:
        return None
    return (path, path[len(root) :]) if root and path.startswith(root + "/") else (path,)


def _follow_uvicorn(module: ModuleType) -> None:
    cycle: Any = getattr(module, "RequestResponseCycle", None)
    original = getattr(cycle, "run_asgi", None)
    if original is None:
        return

    @functools.wraps(original)
    async def run_asgi(self: Any, app: Any) -> Any:
        current.set(_names(self.scope))
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
                current.set(_names(scope))
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
        current.set((method,))

    functions = {kind: getattr(handler, kind, None) for kind in _GRPC_KINDS}
    return handler._replace(**{kind: wrapper(f, enter, lambda _: None) for kind, f in functions.items() if f})
