"""From what a server can be asked to what the manifest needs: a readiness path, a liveness path, a fast request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from drainproof.proposing.proposal import TOKEN, Ask
from drainproof.target.placeholders import escape

READINESS = ("ready", "readyz", "readiness", "health/ready", "health", "healthz", "healthcheck", "health_check", "ping")
LIVENESS = ("live", "livez", "liveness", "health/live", "alive")
PREDICT = (
    *("predict", "infer", "inference", "predictions", "invocations", "score", "classify", "generate", "embed"),
    *("prediction", "completions", "embeddings", "chat", "detect", "rank", "rerank", "translate", "summarize"),
    *("transcribe", "analyze", "complete", "encode", "tokenize", "sentiment"),
)
"""Names that people give to such paths, the most telling first."""

HOPS = 20
"""So many references of an OpenAPI document may lead from one to the next."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    """With its parameters filled in."""
    body: Any = None
    """An example of a JSON body; None for none."""
    bare: bool = True
    """Whether it needs neither parameters nor a body."""


def readiness(endpoints: Iterable[Endpoint]) -> str | None:
    """The path that says that the server is ready; None where none has such a name."""
    return _named(endpoints, READINESS)


def liveness(endpoints: Iterable[Endpoint]) -> str | None:
    """The path that says that the server is alive."""
    return _named(endpoints, LIVENESS)


def _named(endpoints: Iterable[Endpoint], names: Sequence[str]) -> str | None:
    paths = [e.path for e in endpoints if e.method == "GET" and e.bare]
    for name in names:
        for path in paths:
            if path.rstrip("/").lower().endswith("/" + name):
                return path
    return None


def requests(endpoints: Iterable[Endpoint], *, health: Iterable[str | None]) -> tuple[Ask, ...]:
    """The requests that could be the fast one, the likeliest first.

    Each of them may be sent to the server without anybody having asked for it. So a POST is among them only where its
    name says that it computes something: another one may change or delete what the server keeps.
    """
    left_out = {*health, "/openapi.json", "/docs", "/redoc", "/metrics"}
    asks = [Ask(method=e.method, path=e.path, json=e.body) for e in endpoints if e.path not in left_out]
    return tuple(sorted(filter(_harmless, asks), key=_likelihood))


def not_sent(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """For the user: what is no candidate because of what it may do."""
    asks = [Ask(method=e.method, path=e.path, json=e.body) for e in endpoints]
    return tuple(f"{ask.words}, not tried: it may change what the server keeps" for ask in asks if not _harmless(ask))


def _harmless(ask: Ask) -> bool:
    return ask.method == "GET" or (ask.method == "POST" and _place(ask) < len(PREDICT))


def _place(ask: Ask) -> int:
    words = re.split(r"[/:_.-]", ask.path.partition("?")[0].lower())
    return next((i for i, name in enumerate(PREDICT) if name in words), len(PREDICT))


def _likelihood(ask: Ask) -> tuple[bool, int, bool]:
    return _place(ask) == len(PREDICT), ask.method != "POST", ask.json is None


def of_openapi(document: Any) -> list[Endpoint]:
    """What an OpenAPI document says that the server can be asked. Whatever is odd in it is left out."""
    found: list[Endpoint] = []
    paths = document.get("paths") if isinstance(document, dict) else None
    for path, methods in (paths if isinstance(paths, dict) else {}).items():
        if not isinstance(methods, dict):
            continue
        for method, operation in methods.items():
            if method.upper() in ("GET", "POST") and isinstance(operation, dict):
                try:
                    found.append(_endpoint(document, str(path), method.upper(), {**methods, **operation}))
                except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                    continue
    return found


def _endpoint(document: Any, path: str, method: str, operation: dict[str, Any]) -> Endpoint:
    query = []
    for given in operation.get("parameters", ()):
        parameter = _resolved(document, given)
        value = str(example(document, parameter.get("schema", {}), name=parameter["name"]))
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", value)
        elif parameter["in"] == "query" and parameter.get("required"):
            query.append(f"{parameter['name']}={value}")
    content = _resolved(document, operation.get("requestBody", {})).get("content", {})
    body = None
    if (schema := content.get("application/json")) is not None:
        body = example(document, schema.get("schema", {}), given=schema)
    if "{" in path.replace(TOKEN, ""):
        raise ValueError("a parameter that nobody describes")
    bare = body is None and not query and "{" not in path and "requestBody" not in operation
    return Endpoint(method=method, path=path + ("?" + "&".join(query) if query else ""), body=body, bare=bare)


def _resolved(document: Any, node: Any) -> Any:
    for _ in range(HOPS):
        if not isinstance(node, dict) or "$ref" not in node:
            return node
        found = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    raise ValueError("references that lead in a circle")


def example(document: Any, schema: Any, *, name: str = "", given: Any = None) -> Any:
    """A value that `schema` allows, with the token wherever a text may stand; never None.

    Examples that the author gives come first, but for texts: an answer that has the token belongs to its own request.
    """
    schema = _resolved(document, schema)
    for place in (given or {}, schema):
        for value in (place.get("example"), *_some(place.get("examples"))):
            if value is not None and not isinstance(value, str):
                return without_null(value)
    if "const" in schema or schema.get("enum"):
        return schema.get("const", (schema.get("enum") or [None])[0])
    for choice in ("anyOf", "oneOf"):
        for each in schema.get(choice, ()):
            if _resolved(document, each).get("type") != "null":
                return example(document, each, name=name)
    if schema.get("allOf"):
        parts = [example(document, each, name=name) for each in schema["allOf"]]
        return {k: v for part in parts if isinstance(part, dict) for k, v in part.items()} or parts[0]
    return _of_type(document, schema, name)


def _some(examples: Any) -> list[Any]:
    if isinstance(examples, dict):
        return [e.get("value") if isinstance(e, dict) else e for e in examples.values()]
    return list(examples) if isinstance(examples, list) else []


def _of_type(document: Any, schema: dict[str, Any], name: str) -> Any:
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        required = schema.get("required", ())
        properties = schema.get("properties", {})
        return {key: example(document, value, name=key) for key, value in properties.items() if key in required}
    if kind == "array":
        item = example(document, schema.get("items", {}), name=name)
        return [item] * max(1, int(schema.get("minItems", 1)))
    if kind == "integer":
        return max(1, int(schema.get("minimum", 1)))
    if kind == "number":
        return max(1.0, float(schema.get("minimum", 1.0)))
    if kind == "boolean":
        return True
    return TOKEN


def without_null(value: Any) -> Any:
    """`value` as TOML can have it, and with its braces as a manifest writes them."""
    if isinstance(value, dict):
        return {str(key): without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in value if item is not None]
    return escape(value) if isinstance(value, str) and value != TOKEN else value
