"""Placeholders in a command line or an environment variable: `{port}`, `{tmp}`, and `{{` for a brace itself.

`str.format` alone would do too much with text that a user wrote: `{port.__class__}`, `{port!r}` and `{0}` all mean
something to it. Its parser is used, and whatever is not a plain name is refused.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping

COMMON = ("workers", "python", "folder", "tmp")
"""The placeholders that every target has; to them come those of its ports."""


class PlaceholderError(ValueError):
    """The text is not a valid template; the message says why."""


def port_placeholder(port: str) -> str:
    """The placeholder that carries the port of this name: `port` for `http`, `NAME_port` for any other."""
    return "port" if port == "http" else f"{port}_port"


def valid_names(ports: Iterable[str]) -> tuple[str, ...]:
    """All placeholders of a target with these port names."""
    return (*(port_placeholder(port) for port in ports), *COMMON)


def names(template: str) -> list[str]:
    """The placeholders in `template`, in order. Raises PlaceholderError where its braces make no sense."""
    return [name for _, name in _parse(template) if name is not None]


def fill(template: str, values: Mapping[str, str]) -> str:
    """`template` with its placeholders replaced; raises PlaceholderError for one that `values` does not have."""
    parts = []
    for text, name in _parse(template):
        parts.append(text)
        if name is not None:
            if name not in values:
                raise PlaceholderError(f"unknown placeholder {{{name}}}")
            parts.append(values[name])
    return "".join(parts)


def escape(text: str) -> str:
    """A template that fills in to `text` itself, whatever braces it has."""
    return text.replace("{", "{{").replace("}", "}}")


def _parse(template: str) -> list[tuple[str, str | None]]:
    """Pairs of a literal text and the placeholder behind it (None behind the last)."""
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise PlaceholderError("a brace that opens or closes nothing; a brace itself is written {{ or }}") from error
    pairs = []
    for text, name, spec, conversion in parsed:
        if name is not None and (spec or conversion is not None or not name.isidentifier()):
            written = name + (f"!{conversion}" if conversion is not None else "") + (f":{spec}" if spec else "")
            raise PlaceholderError(f"{{{written}}} is not a placeholder; a brace itself is written {{{{ or }}}}")
        pairs.append((text, name))
    return pairs
