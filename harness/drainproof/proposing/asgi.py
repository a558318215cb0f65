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

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
ADDING = {
    *("get", "post", "put", "delete", "patch", "head", "options", "api_route", "route", "websocket", "mount"),
    *("include_router", "add_api_route", "add_route", "add_websocket_route", "register_blueprint", "host"),
}
"""Methods of an application that make it answer something."""
TAKEN = ("routes", "route_handlers")
"""What some take such things by when they are made."""
SERVING = ("uvicorn.run", "uvicorn.Config", "uvicorn.main.run", "fastapi.testclient.TestClient")
"""What an application is handed to without getting a route by that."""

PLAIN = {"str": TOKEN, "int": 1, "float": 1.0, "bool": True}


@dataclass(frozen=True)
class Application:
    """Where one is."""

    module: Module
    name: str
    framework: str
    factory: bool
    node: ast.stmt
    """Where it is made."""

    @property
    def where(self) -> str:
        """For the user."""
        return f"`{self.name}{'()' if self.factory else ''}` in {self.module.where}"


def propose(folder: Path, modules: Sequence[Module]) -> Proposal | None:
    """A manifest for the application in `folder`; None where there is none."""
    found = sorted((app for module in modules for app in _applications(module)), key=lambda a: _likelihood(a, modules))
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
    known = list(_routes(modules, without=_of_others(app, found[1:], modules)))
    ready, live = endpoints.readiness(known), endpoints.liveness(known)
    return Proposal(
        kind=f"uvicorn + {app.framework}",
        found=(
            f"{app.framework} application {app.where}",
            *(f"another one, {other.where}: not taken" for other in found[1:]),
            *endpoints.not_sent(known),
        ),
        start=Start(command=command, cwd=cwd),
        readiness=ready,
        liveness=live,
        requests=endpoints.requests(known, health=(ready, live)),
        todo={"start": tuple(todo)} if todo else {},
    )


def _likelihood(app: Application, modules: Sequence[Module]) -> tuple[bool, bool, int, int]:
    """The smaller the likelier: one that answers nothing is not what is meant, as long as there is another."""
    stem = app.module.path.stem
    place = USUAL.index(stem) if stem in USUAL else len(USUAL)
    return not _answers_something(app, modules), app.factory, len(app.module.path.parts), place


def _answers_something(app: Application, modules: Sequence[Module]) -> bool:
    """Whether routes are added to it, in whatever way, or it is handed to somebody who may do that."""
    if isinstance(app.node, (ast.Assign, ast.AnnAssign)) and _takes_routes(app.node.value):
        return True
    for module, tree, names in _places(app, modules):
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            handed = any(_named(argument, names) for argument in (*call.args, *(k.value for k in call.keywords)))
            if _method(call, names) in ADDING or (handed and module.meaning(call.func) not in SERVING):
                return True
            if app.factory and module.meaning(call.func) in APPLICATIONS and _takes_routes(call):
                return True
    return False


def _takes_routes(made: ast.expr | None) -> bool:
    return isinstance(made, ast.Call) and any(keyword(made, name) for name in TAKEN)


def _method(call: ast.Call, names: set[str]) -> str:
    """Which method of what has one of these names is called; empty for another call."""
    return call.func.attr if isinstance(call.func, ast.Attribute) and _named(call.func.value, names) else ""


def _of_others(app: Application, others: Sequence[Application], modules: Sequence[Module]) -> set[ast.AST]:
    """The functions that answer for other applications, and not for `app`."""
    mine, theirs = _functions(app, modules), set()
    for other in others:
        theirs |= _functions(other, modules)
    return theirs - mine


def _functions(app: Application, modules: Sequence[Module]) -> set[ast.AST]:
    """The functions that answer for `app`, by its own decorators or those of the routers that it includes."""
    routers = set()
    found: set[ast.AST] = set()
    for _, tree, names in _places(app, modules):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _method(node, names) == "include_router" and node.args:
                routers.add(ast.unparse(node.args[0]).rpartition(".")[2])
            if isinstance(node, FUNCTIONS) and any(_named(owner, names) for owner in _owners(node)):
                found.add(node)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, FUNCTIONS) and any(_named(owner, routers) for owner in _owners(node)):
                found.add(node)
    return found


def _places(app: Application, modules: Sequence[Module]) -> Iterator[tuple[Module, ast.AST, set[str]]]:
    """Where `app` is known, and by which names."""
    if app.factory:
        made = [n for n in ast.walk(app.node) if isinstance(n, (ast.Assign, ast.AnnAssign)) and n.value is not None]
        names = {
            target.id
            for node in made
            if isinstance(node.value, ast.Call) and app.module.meaning(node.value.func) in APPLICATIONS
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        yield app.module, app.node, names
        return
    stem = app.module.importable[1].rpartition(".")[2]
    for module in modules:
        if module is app.module:
            yield from ((module, node, {app.name}) for node in module.tree.body if not _makes_its_own(node, app))
        else:
            imported = {name for name, full in module.names.items() if full.split(".")[-2:] == [stem, app.name]}
            if imported:
                yield module, module.tree, imported


def _makes_its_own(node: ast.stmt, app: Application) -> bool:
    """Whether a function has an application of its own by the same name."""
    return isinstance(node, FUNCTIONS) and any(
        isinstance(inside, ast.Name) and isinstance(inside.ctx, ast.Store) and inside.id == app.name
        for inside in ast.walk(node)
    )


def _named(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _owners(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.expr]:
    """What its decorators are called on: `app` in `@app.get("/")`."""
    for call in function.decorator_list:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            yield call.func.value


def _applications(module: Module) -> Iterator[Application]:
    for node in module.tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call):
            framework = APPLICATIONS.get(module.meaning(node.value.func))
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if framework and isinstance(targets[0], ast.Name):
                yield Application(module, targets[0].id, framework, False, node)
        elif isinstance(node, ast.FunctionDef) and not _needs_arguments(node):
            made = [APPLICATIONS.get(module.meaning(c.func)) for c in ast.walk(node) if isinstance(c, ast.Call)]
            framework = APPLICATIONS.get(module.meaning(node.returns)) or next(filter(None, made), None)
            if framework and any(isinstance(each, ast.Return) and each.value for each in ast.walk(node)):
                yield Application(module, node.name, framework, True, node)


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


def _routes(modules: Sequence[Module], *, without: set[ast.AST]) -> Iterator[Endpoint]:
    """What decorators say, but for functions in `without`.

    A prefix that `include_router` adds is not seen; the running server knows better.
    """
    models = {node.name: node for m in modules for node in ast.walk(m.tree) if isinstance(node, ast.ClassDef)}
    for module in modules:
        prefixes = dict(_prefixes(module))
        for function in ast.walk(module.tree):
            if not isinstance(function, FUNCTIONS) or function in without:
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
