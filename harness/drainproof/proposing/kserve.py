"""Finds a program that starts KServe's ModelServer."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from drainproof.proposing.proposal import TOKEN, Ask, Proposal, Start, interpreter
from drainproof.proposing.source import Module, bodies, constant, keyword, payload_keys, text

SERVERS = ("kserve.ModelServer", "kserve.model_server.ModelServer")
MODELS = ("kserve.Model", "kserve.model.Model")
READY, LIVE = "/v2/health/ready", "/v2/health/live"

FLAGS = {"http": "--http_port", "grpc": "--grpc_port"}
"""KServe reads them itself, from the command line of any program that imports it."""

ENVELOPE = ("instances", "inputs", "predictions")


def propose(folder: Path, modules: Sequence[Module]) -> Proposal | None:
    """A manifest for the program in `folder`; None where there is none."""
    for module in sorted(modules, key=lambda module: not module.is_program):
        made = next((call for call in module.calls() if module.meaning(call.func) in SERVERS), None)
        if made is not None:
            return _proposal(folder, module, made, modules)
    return None


def _proposal(folder: Path, module: Module, made: ast.Call, modules: Sequence[Module]) -> Proposal:
    speaks_grpc = constant(keyword(made, "enable_grpc")) is not False
    ports = ("http", "grpc") if speaks_grpc else ("http",)
    placeholders = {"http": "{port}", "grpc": "{grpc_port}"}
    flags = [word for port in ports for word in (FLAGS[port], placeholders[port])]
    fixed = [f"{name}_port" for name in FLAGS if constant(keyword(made, f"{name}_port")) is not None]
    todo = [f"{module.where} sets {name} itself, which wins over the command line: take it out" for name in fixed]
    names = _names(modules)
    proposal = Proposal(
        kind="KServe",
        found=(f"kserve.ModelServer in {module.where}", *(f"the model {name!r}" for name in names)),
        start=Start(command=(interpreter(folder), module.where, *flags), ports=ports, deadline=60),
        readiness=READY,
        liveness=LIVE,
        requests=requests(names or ["model"], keys(modules)),
        todo={"start": tuple(todo)} if todo else {},
    )
    if names:
        return proposal
    return Proposal(**{**vars(proposal), "todo": proposal.with_todo("request", "the name of the model")})


def requests(names: Iterable[str], expected: Sequence[str]) -> tuple[Ask, ...]:
    """Candidates for the fast request to each model. What a model takes is up to its author."""
    usual: list[Any] = [TOKEN, [TOKEN], {"text": TOKEN}, 1.0, [1.0, 2.0, 3.0, 4.0], [[1.0, 2.0, 3.0, 4.0]]]
    candidates = [*bodies(expected, TOKEN), *usual]
    return tuple(
        Ask(path=f"/v1/models/{name}:predict", json={"instances": [body]}) for name in names for body in candidates
    )


def keys(modules: Sequence[Module]) -> list[str]:
    """What the models look up in what they are sent."""
    found = [key for module in modules for model in _classes(module) for key in payload_keys(model)]
    return [key for key in dict.fromkeys(found) if key not in ENVELOPE]


def _classes(module: Module) -> list[ast.ClassDef]:
    return [
        node
        for node in module.tree.body
        if isinstance(node, ast.ClassDef) and any(module.meaning(base) in MODELS for base in node.bases)
    ]


def _names(modules: Sequence[Module]) -> list[str]:
    """The names of the models that are made somewhere."""
    classes = {model.name for module in modules for model in _classes(module)}
    found: list[str] = []
    for module in modules:
        for call in module.calls():
            made = module.meaning(call.func).rpartition(".")[2] in classes
            inherited = isinstance(call.func, ast.Attribute) and call.func.attr == "__init__" and bool(_classes(module))
            name = text(keyword(call, "name") or (call.args[0] if call.args else None))
            if (made or inherited) and name:
                found.append(name)
    return list(dict.fromkeys(found))
