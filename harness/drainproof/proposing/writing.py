"""A proposal as the text of a manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from drainproof.proposing.proposal import TOKEN, Ask, Proposal

BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
SLOW = 0.5
"""Seconds of work that make a request worth holding while a server drains."""
WIDTH = 110


def write(proposal: Proposal) -> str:
    """The text of the manifest."""
    blocks = [[f"# Proposed by `drainproof init` for {proposal.kind}. TODO marks what it could not find out."]]
    if proposal.start is not None:
        start = proposal.start
        lines = _table("start", command=list(start.command))
        if start.cwd != ".":
            lines += _values(cwd=start.cwd)
        if start.ports != ("http",):
            lines += _values(ports=list(start.ports))
        if start.deadline is not None:
            lines += _values(deadline=start.deadline)
        blocks.append(lines + _todo(proposal, "start"))
        if start.env:
            blocks.append(_table("start.env", **start.env))
    if proposal.container is not None:
        container = proposal.container
        lines = _table("container", build=".")
        if container.dockerfile != "Dockerfile":
            lines += _values(dockerfile=container.dockerfile)
        blocks.append([*lines, *_values(ports=dict(container.ports)), *_todo(proposal, "container")])
    blocks.append(_health(proposal))
    blocks += _requests(proposal)
    blocks += [_table(name, **values) for name, values in proposal.tables.items()]
    if "policy" not in proposal.tables:
        blocks.append(
            [
                "[policy]",
                "# TODO what the platform that stops it gives: terminationGracePeriodSeconds, stop_grace_period",
                "grace_period = 30",
            ]
        )
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _health(proposal: Proposal) -> list[str]:
    ready = proposal.readiness
    lines = _table("health", readiness=ready or guessed_readiness(proposal))
    if ready is None:
        lines.append("# TODO the path that the platform asks before it sends traffic: none was found, this is a guess")
    if proposal.liveness is not None:
        lines += _values(liveness=proposal.liveness)
    return lines + _todo(proposal, "health")


def guessed_readiness(proposal: Proposal) -> str:
    """What is asked where nothing says how ready it is."""
    return next((ask.path for ask in proposal.requests if ask.method == "GET" and ask.json is None), "/")


def _requests(proposal: Proposal) -> list[list[str]]:
    ask = proposal.requests[0] if proposal.requests else Ask(path="/predict", json={"text": TOKEN})
    slow = ask.duration is not None and ask.duration >= SLOW
    lines = ["[[request]]", *_values(name="slow" if slow else "fast")]
    if ask.method != ("GET" if ask.json is None else "POST"):
        lines += _values(method=ask.method)
    lines += _values(path=ask.path)
    if ask.json is not None:
        lines += _values(json=ask.json)
    if ask.token_comes_back:
        lines += _values(expect={"contains": TOKEN})
    else:
        lines += _values(expect={"status": 200})
        lines.append("# TODO expect what the answer holds: nobody notices a 200 with the wrong content")
    if ask.duration is not None:
        lines += _values(duration=ask.duration)
    if not proposal.requests:
        lines.append("# TODO the path and the body of a real request: none was found")
    lines += _todo(proposal, "request")
    other = (
        "a fast one as well (tens of milliseconds): it makes the steady load"
        if slow
        else ("a slow one as well (half a second to a few seconds), so that requests are in flight at the stop signal;")
    )
    later = [
        f"# TODO {other}",
        *([] if slow else ["# without one, much about the drain stays inconclusive"]),
        "# [[request]]",
        f'# name = "{"fast" if slow else "slow"}"',
        f"# path = {_value(ask.path)}",
        f"# duration = {'0.02' if slow else '1.0'}",
    ]
    return [lines, later]


def _todo(proposal: Proposal, table: str) -> list[str]:
    return [f"# TODO {' '.join(text.split())}" for text in proposal.todo.get(table, ())]


def _table(name: str, **values: Any) -> list[str]:
    return [f"[{name}]", *_values(**values)]


def _values(**values: Any) -> list[str]:
    return [_line(key, value) for key, value in values.items()]


def _line(key: str, value: Any) -> str:
    line = f"{key} = {_value(value)}"
    if len(line) <= WIDTH or not isinstance(value, list):
        return line
    return f"{key} = [\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"


def _value(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)


def _key(key: str) -> str:
    return key if BARE.match(key) else _value(key)
