"""Named sites: where `@handler`, `@rest`, … are in the common servers.

Each entry of the tables was found in the releases of uvicorn (0.15 to 0.54), FastAPI, Starlette, KServe (0.11 to 0.21)
and grpc.aio; what a release does not have is passed over. A site given in the manifest takes the place of the name.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any

from drainproof_shim import channel, loops, requests
from drainproof_shim.gates import Gate, Ladder
from drainproof_shim.imports import when_imported
from drainproof_shim.sites import Missing, Site, wrapper
from drainproof_shim.trigger import Trigger

# From the outside in: an ASGI server, a router, an endpoint. KServe's model is not a rung of this ladder: where it is
# imported, it is what serves, and a health check that ends before it teaches nothing.
HANDLERS = (
    ("starlette.routing", "Route.handle", 1),
    ("fastapi.routing", "run_endpoint_function", 2),
)
KSERVE_HANDLERS = (("kserve.model", "Model.__call__"),)

REST = (
    ("uvicorn.server", "Server.serve"),
    ("kserve.protocol.rest.multiprocess.server", "RESTServerMultiProcess.start"),
    ("hypercorn.asyncio.run", "worker_serve"),
)

STOPS = (
    ("uvicorn.server", "Server.shutdown"),
    ("kserve.model_server", "ModelServer.stop"),
    ("grpc.aio._server", "Server.stop"),
)


def arm(trigger: Trigger, site: str) -> None:
    """Arms the fault of `trigger` at the named site. Raises ValueError for a name that there is not."""
    name = site[1:]
    if name not in _NAMES:
        raise ValueError("no site is named {}; there are @{}".format(site, ", @".join(_NAMES)))
    _NAMES[name](trigger)


def armed(trigger: Trigger, site: str, module: ModuleType | None) -> None:
    """Reports that the fault is armed at `site`."""
    file = getattr(module, "__file__", None)
    channel.report("armed", fault=trigger.fault.name, site=site, module_file=file)


def _gate(trigger: Trigger, module: str, name: str, **options: Any) -> None:
    """Puts a gate before `module:name` when the module is imported; without such a name there is none."""

    def hook(imported: ModuleType) -> None:
        try:
            site = Site(imported, name)
            gate = Gate(trigger, module + ":" + name, function=site.function, **options)
            site.wrap(gate.enter, gate.leave)
        except Missing:
            return
        armed(trigger, gate.site, imported)

    when_imported(module, hook)


def _handler(trigger: Trigger) -> None:
    ladder = Ladder()

    def without_kserve() -> bool:
        return "kserve.model" not in sys.modules

    for module, name in KSERVE_HANDLERS:
        _gate(trigger, module, name)
    for module, name, depth in HANDLERS:
        _gate(trigger, module, name, ladder=ladder, depth=depth, only_if=without_kserve)

    def served_by(module: ModuleType) -> None:
        """The ASGI application, as uvicorn calls it: an exception in it is one in a handler, not one in uvicorn."""
        cycle: Any = getattr(module, "RequestResponseCycle", None)
        original = getattr(cycle, "run_asgi", None)
        if original is None:
            return
        gate = Gate(
            trigger,
            module.__name__ + ":RequestResponseCycle.run_asgi",
            function=original,
            ladder=ladder,
            only_if=without_kserve,
        )

        gated: list[Any] = [None, None]  # the application that was last called, and what stands before it

        @functools.wraps(original)
        async def run_asgi(self: Any, app: Any) -> Any:
            known, application = gated
            if known is not app:
                application = wrapper(_plainly(app), gate.enter, gate.leave)
                gated[:] = [app, application]
            return await original(self, application)

        cycle.run_asgi = run_asgi
        armed(trigger, gate.site, module)

    for protocol in requests.PROTOCOLS:
        when_imported("uvicorn.protocols.http." + protocol, served_by)
    requests.follow()


def _plainly(app: Any) -> Any:
    async def application(*arguments: Any) -> Any:
        return await app(*arguments)

    return application


def _rest(trigger: Trigger) -> None:
    for module, name in REST:
        _gate(trigger, module, name, strikes=True, main_first=True)


def _grpc(trigger: Trigger) -> None:
    _gate(trigger, "grpc.aio._server", "Server.wait_for_termination", strikes=True, main_first=True)

    def hook(module: ModuleType) -> None:
        """A server that does not wait for its termination is represented by the task that started it."""
        server: Any = getattr(module, "Server", None)
        original = getattr(server, "start", None)
        if original is None:
            return
        gate = Gate(trigger, "grpc.aio._server:Server.start", strikes=True, rank=1, main_first=True)

        @functools.wraps(original)
        async def start(self: Any) -> Any:
            result = await original(self)
            task = sys.modules["asyncio"].current_task()
            entry = gate.stand_by(task) if gate.strikes else None
            if entry is not None:
                task.add_done_callback(lambda _: gate.leave(entry))
            return result

        server.start = start

    when_imported("grpc.aio._server", hook)


def _stop(trigger: Trigger) -> None:
    serving = {"uvicorn": 0}

    def hook(module: ModuleType) -> None:
        def enter(_: Any) -> bool:
            serving["uvicorn"] += 1
            return True

        def leave(_: Any) -> None:
            serving["uvicorn"] -= 1

        Site(module, "Server.serve").wrap(enter, leave)

    when_imported("uvicorn.server", hook)
    (uvicorn, shutdown), (kserve, stop), (grpc, stop_grpc) = STOPS
    _gate(trigger, uvicorn, shutdown)
    _gate(trigger, kserve, stop, only_if=lambda: not serving["uvicorn"])
    _gate(trigger, grpc, stop_grpc, only_if=lambda: not serving["uvicorn"] and kserve not in sys.modules)


def _load(trigger: Trigger) -> None:
    def kserve(module: ModuleType) -> None:
        """A model's own `load` overrides KServe's, so each class that has one is armed when it is made."""
        root: Any = getattr(module, "BaseKServeModel", None) or module.Model
        before = root.__dict__.get("__init_subclass__")

        def arm_class(kind: Any) -> None:
            if "load" in vars(kind):
                where = sys.modules.get(kind.__module__, module)
                gate = Gate(trigger, kind.__module__ + ":" + kind.__qualname__ + ".load", function=kind.load)
                kind.load = wrapper(vars(kind)["load"], gate.enter, gate.leave)
                armed(trigger, gate.site, where)

        def init_subclass(kind: Any, /, **named: Any) -> None:
            if before is not None:
                before.__func__(kind, **named)
            else:
                super(root, kind).__init_subclass__(**named)
            arm_class(kind)

        arm_class(root)
        if module.Model is not root:
            arm_class(module.Model)
        root.__init_subclass__ = classmethod(init_subclass)

    def starlette(module: ModuleType) -> None:
        """Elsewhere a model is loaded in the ASGI lifespan: its context fails, as it would if the load did.

        An exception outside of the context would tell the server that the application knows no lifespan.
        """
        router: Any = module.Router
        original = router.lifespan
        gate = Gate(
            trigger,
            "starlette.routing:Router.lifespan",
            function=original,
            only_if=lambda: "kserve.model" not in sys.modules,
        )

        @functools.wraps(original)
        async def lifespan(self: Any, scope: Any, receive: Any, send: Any) -> Any:
            context = self.lifespan_context
            self.lifespan_context = wrapper(context, gate.enter, gate.leave)
            try:
                return await original(self, scope, receive, send)
            finally:
                self.lifespan_context = context

        router.lifespan = lifespan
        armed(trigger, gate.site, module)

    when_imported("kserve.model", kserve)
    when_imported("starlette.routing", starlette)


_NAMES = {
    "handler": _handler,
    "rest": _rest,
    "grpc": _grpc,
    "stop": _stop,
    "load": _load,
    "main": loops.arm_main,
    "task": loops.arm_task,
    "callback": loops.arm_callback,
}
