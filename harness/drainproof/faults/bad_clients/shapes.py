"""JSON values by path: what stands where, and the same value with one thing changed."""

from __future__ import annotations

import json
from typing import Any

Path = tuple[Any, ...]
"""Keys and indices, from the outside in."""


class Raw(str):
    """Text that stands in the JSON as it is."""

    __slots__ = ()


def dump(value: Any) -> bytes:
    """The value as JSON."""
    if isinstance(value, Raw):
        return str(value).encode()
    if isinstance(value, dict):
        return b"{%s}" % b", ".join(json.dumps(key).encode() + b": " + dump(item) for key, item in value.items())
    if isinstance(value, list):
        return b"[%s]" % b", ".join(map(dump, value))
    return json.dumps(value).encode()


def paths(value: Any) -> list[Path]:
    """The paths of all keys and items, the outermost first."""
    found: list[Path] = []
    level: list[tuple[Path, Any]] = [((), value)]
    while level:
        inner = []
        for path, inside in level:
            items = inside.items() if isinstance(inside, dict) else enumerate(inside)
            for key, item in items:
                found.append((*path, key))
                if isinstance(item, dict | list):
                    inner.append(((*path, key), item))
        level = inner
    return found or [()]


def at(value: Any, path: Path) -> Any:
    """What stands at `path`."""
    for key in path:
        value = value[key]
    return value


def replaced(value: Any, path: Path, other: Any) -> Any:
    """The value with `other` at `path`."""
    if not path:
        return other
    if isinstance(value, dict):
        return {key: replaced(item, path[1:], other) if key == path[0] else item for key, item in value.items()}
    return [replaced(item, path[1:], other) if i == path[0] else item for i, item in enumerate(value)]


def without(value: Any, path: Path) -> Any:
    """The value without what stands at `path`; None without everything."""
    if not path:
        return None
    if len(path) > 1:
        return replaced(value, path[:1], without(value[path[0]], path[1:]))
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != path[0]}
    return [item for i, item in enumerate(value) if i != path[0]]


def same_types(one: Any, other: Any) -> bool:
    """Whether both have the same keys, and everywhere the same types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_types(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_types, one, other))
    return True
