"""Finds an ASGI application (FastAPI and others) that uvicorn serves."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drainproof.proposing import endpoints
from drainproof.proposing.endpoints import Endpoint
from drainproof.proposing.proposal import TOKEN, Proposal, Start, interpreter
from drainproof.proposing.source import Module, constant, keyword, text

APPLICATIONS = {
    "fastapi.FastAPI": "FastAPI",
    "fastapi.applications.FastAPI": "FastAPI",
    "starlette.applications.Starlette": "Starlette",
    "litestar.Litestar": "Litestar",
    "quart.Quart": "Quart",
}
ROUTERS = ("fastapi.APIRouter", "fastapi.routing.APIRouter")
USUAL = ("main", "app", "server", "api", "application", "asgi", "__init__")
"""What the module with the application is mostly called, the likeliest first."""

CARRIED = {
    "timeout_graceful_shutdown": "--timeout-graceful-shutdown",
    "timeout_keep_alive": "--timeout-keep-alive",
    "limit_concurrency": "--limit-concurrency",
    "root_path": "--root-path",
}
"""What a script hands to `uvicorn.run` and the command line has a word for."""

PLAIN = {"str": TOKEN, "int": 1, "float": 1.0, "bool": True}


@dataclass(frozen=True)
class Application:
    """Where one is."""

    module: Module
    name: str
    framework: str
    factory: bool
    line: int

    @property
    def where(self) -> str:
        """For the user."""
        return f"`{self.name}{'()' if self.factory else ''}` in {self.module.where}"


def propose(folder: Path, modules: Sequence[Module]) -> Proposal | None:
    """A manifest for the application in `folder`; None where there is none."""
    found = sorted((app for module in modules for app in _applications(module)), key=_likelihood)
    if not found:
        return None
    app = found[0]
    cwd, dotted = app.module.importable
    carried, todo = _own_settings(app)
    command = (
        *(interpreter(folder), "-m", "uvicorn", f"{dotted}:{app.name}"),
        *(("--factory",) if app.factory else ()),
        *("--host", "127.0.0.1", "--port", "{port}", *carried),
    )
    known = list(_routes(modules))
    ready, live = endpoints.readiness(known), endpoints.liveness(known)
    return Proposal(
        kind=f"uvicorn + {app.framework}",
        found=(
            f"{app.framework} application {app.where}",
            *(f"another one, {other.where}: not taken" for other in found[1:]),
        ),
        start=Start(command=command, cwd=cwd),
        readiness=ready,
        liveness=live,
        requests=endpoints.requests(known, health=(ready, live)),
        todo={"start": tuple(todo)} if todo else {},
    )


def _likelihood(app: Application) -> tuple[bool, int, int]:
    stem = app.module.path.stem
    place = USUAL.index(stem) if stem in USUAL else len(USUAL)
    return app.factory, len(app.module.path.parts), place


def _applications(module: Module) -> Iterator[Application]:
    for node in module.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            framework = APPLICATIONS.get(module.meaning(node.value.func))
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if framework and isinstance(targets[0], ast.Name):
                yield Application(module, targets[0].id, framework, False, node.lineno)
        elif isinstance(node, ast.FunctionDef) and not _needs_arguments(node):
            made = [APPLICATIONS.get(module.meaning(c.func)) for c in ast.walk(node) if isinstance(c, ast.Call)]
            framework = APPLICATIONS.get(module.meaning(node.returns)) or next(filter(None, made), None)
            if framework and any(isinstance(each, ast.Return) and each.value for each in ast.walk(node)):
                yield Application(module, node.name, framework, True, node.lineno)


def _needs_arguments(function: ast.FunctionDef) -> bool:
    args = function.args
    missing = len(args.posonlyargs) + len(args.args) - len(args.defaults)
    return missing > 0 or any(default is None for default in args.kw_defaults)


def _own_settings(app: Application) -> tuple[list[str], list[str]]:
    """What the program hands to `uvicorn.run`, as words of the command line, and what is left to the user of it."""
    carried: list[str] = []
    for call in app.module.calls():
        if app.module.meaning(call.func) not in ("uvicorn.run", "uvicorn.Config", "uvicorn.main.run"):
            continue
        others = []
        for argument in call.keywords:
            value = constant(argument.value)
            if argument.arg in CARRIED and value is not None:
                carried += [CARRIED[argument.arg], str(value)]
            elif argument.arg not in ("host", "port", "app", "reload", "log_level"):
                others.append(str(argument.arg))
        todo = f"{app.module.where} starts uvicorn itself: if production runs it so, let it take its port, and name it"
        return carried, [todo + (f" (not carried over: {', '.join(others)})" if others else "")]
    return carried, []


def _routes(modules: Sequence[Module]) -> Iterator[Endpoint]:
    """What decorators say. A prefix that `include_router` adds is not seen; the running server knows better."""
    models = {node.name: node for m in modules for node in ast.walk(m.tree) if isinstance(node, ast.ClassDef)}
    for module in modules:
        prefixes = dict(_prefixes(module))
        for function in ast.walk(module.tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for call in function.decorator_list:
                if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                    continue
                owner = call.func.value
                path = text(call.args[0] if call.args else keyword(call, "path"))
                if call.func.attr in ("get", "post") and isinstance(owner, ast.Name) and path is not None:
                    body = _body(function, path, models) if call.func.attr == "post" else None
                    path = prefixes.get(owner.id, "") + path
                    bare = body is None and "{" not in path
                    if "{" not in path and path.startswith("/"):
                        yield Endpoint(method=call.func.attr.upper(), path=path, body=body, bare=bare)


def _prefixes(module: Module) -> Iterator[tuple[str, str]]:
    for node in module.tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name) and module.meaning(node.value.func) in ROUTERS:
            yield target.id, text(keyword(node.value, "prefix")) or ""


def _body(function: ast.FunctionDef | ast.AsyncFunctionDef, path: str, models: dict[str, ast.ClassDef]) -> Any:
    """An example of the JSON that a route takes, by the annotations of its arguments."""
    for argument in function.args.args:
        if f"{{{argument.arg}}}" in path or argument.annotation is None:
            continue
        name = ast.unparse(argument.annotation)
        if name in models:
            return _of_model(models[name], models, depth=0)
        if name.partition("[")[0] in ("dict", "Dict", "Any", "Request", "fastapi.Request"):
            return {"text": TOKEN}
        if name.partition("[")[0] in ("list", "List"):
            return _of_annotation(argument.annotation, models, depth=0)
    return None


def _of_model(model: ast.ClassDef, models: dict[str, ast.ClassDef], *, depth: int) -> dict[str, Any]:
    """Its fields without a default."""
    return {
        field.target.id: _of_annotation(field.annotation, models, depth=depth + 1)
        for field in model.body
        if isinstance(field, ast.AnnAssign) and field.value is None and isinstance(field.target, ast.Name)
    }


def _of_annotation(node: ast.expr, models: dict[str, ast.ClassDef], *, depth: int) -> Any:
    name = ast.unparse(node)
    if name in models and depth < 5:
        return _of_model(models[name], models, depth=depth)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).rpartition(".")[2].lower() in ("list", "sequence"):
        return [_of_annotation(node.slice, models, depth=depth)]
    if isinstance(node, ast.BinOp):  # X | None
        return _of_annotation(node.left, models, depth=depth)
    return PLAIN.get(name, {} if name.lower().startswith("dict") else TOKEN)
