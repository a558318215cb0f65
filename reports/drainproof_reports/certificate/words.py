"""What was done and what came of it, in words: loads, faults, fates, values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from drainproof.evidence.requests import Fate
from drainproof.text import flat, shortened
from drainproof.verdict import Outcome

FATES: dict[Fate, str] = {
    "right": "answered",
    "unavailable": "answered 503",
    "wrong": "answered wrongly",
    "refused": "refused",
    "backlog": "lost in accept queue",
    "crossing": "lost crossing a close",
    "dropped": "dropped",
    "cut": "cut off",
    "hung": "left hanging",
    "unfinished": "unfinished",
    "elsewhere": "sent elsewhere",
}

OUTCOMES: dict[Outcome, tuple[str, str]] = {
    "pass": ("✓", "holds"),
    "fail": ("✕", "does not hold"),
    "note": ("!", "note"),
    "inconclusive": ("?", "inconclusive"),
    "unsupported": ("-", "does not apply"),
    "error": ("E", "drainproof failed"),
}
"""A sign and a word for each outcome: no reader has to tell them by their colour."""

PORTS = {"http": "HTTP", "grpc": "gRPC"}

CONNECTIONS = {
    "new": "each on a new connection",
    "reuse": "on kept connections",
    "shared": "all on one connection",
}

FAMILIES = {
    "START": "Coming up",
    "DRAIN": "Going down under load",
    "EXIT": "What is left",
    "EXC": "Exceptions",
    "WIN": "An event loop as on Windows (emulated)",
    "WORK": "Worker supervision",
    "CONT": "Containers and Kubernetes",
    "ROLL": "Rolling restarts",
    "CHAOS": "Random schedules of faults",
}

NAMES = {"Sigterm": "SIGTERM", "Ctrl": "Ctrl", "Windows": "Windows"}
"""Words in the names of scenario classes that are names themselves."""

LONGEST = 160
"""Characters of a value that are shown in a line."""

SUMMARY = 400
"""Characters of what a check said."""

FACTS = 20
"""Facts of a verdict that are shown."""

QUIET = {"kind", "moment", "name", "site"}
"""Keys of a fault's description that are told in another way, or say nothing to a reader."""


def port(name: str) -> str:
    """A port's name as people write it."""
    return PORTS.get(name, name)


def load(stream: Mapping[str, Any]) -> str:
    """One stream of an experiment's load."""
    kind, request = stream.get("kind"), stream.get("request")
    how = CONNECTIONS.get(str(stream.get("connections")), "")
    count = stream.get("count")
    tail = f", {how}" if how else ""
    told = {
        "steady": f"{_number(stream.get('rate'))} requests a second of “{request}”{tail}",
        "hold": f"{stream.get('in_flight')} of “{request}” in flight at all times{tail}",
        "closed": f"{stream.get('users')} users who ask for “{request}” again and again{tail}",
        "once": f"{count} of “{request}” at once, and never again{tail}",
        "idle": f"{count} idle connections" + (f" after one “{request}” each" if request else " without a byte"),
        "slow_writer": f"{count} clients whose “{request}” trickles in",
        "slow_reader": f"{count} clients that send “{request}” and never read",
    }
    return told.get(str(kind)) or value(dict(stream))


def fault(described: Mapping[str, Any]) -> str:
    """A fault as it was planned (`faults` and `given` of experiment.json)."""
    kind = str(described.get("kind", "fault"))
    if kind in ("signal", "console_event"):
        what = described.get("console_event") or described.get("signal")
        whom = {"main": "to the main process", "group": "to the process group"}.get(str(described.get("recipient")), "")
        text = f"{what} {whom}".strip()
    else:
        rest = [
            f"{name.replace('_', ' ')} {value(item)}"
            for name, item in described.items()
            if name not in QUIET and item not in (None, False, 0)
        ]
        text = kind.replace("_", " ") + (f" ({', '.join(rest)})" if rest else "")
    moment = described.get("moment")
    return f"{text}, {moment}" if moment else text


def mark(event: Mapping[str, Any]) -> str:
    """The short name of a fault that happened, for the timeline."""
    kind = str(event.get("kind", "fault"))
    if kind in ("signal", "console_event", "worker_killed"):
        return f"{event.get('signal')}" + (" to a worker" if kind == "worker_killed" else "")
    return shortened(kind.replace("_", " "), 24)


def health(seen: Mapping[str, Any]) -> str:
    """What a health probe saw."""
    status = seen.get("status")
    return str(status) if status else str(seen.get("failure", "no answer")).replace("_", " ")


def check(name: str) -> str:
    """What a check expects, from the name of its function."""
    text = re.sub(r"\[.*\]$", "", name).removeprefix("test_").replace("_", " ").strip()
    return sentence(text)


def scenario(name: str) -> str:
    """A scenario class in words: `drain.TestStopUnderLoad` is "Stop under load"."""
    last = name.rpartition(".")[2]
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", last.removeprefix("Test")).split()
    told = " ".join(part if part.isupper() else NAMES.get(part, part.lower()) for part in parts) or last
    return sentence(told)


def variant(parameters: str) -> str:
    """The parameters of a scenario: `SIGTERM-main-2w` is "SIGTERM · main · 2 workers"."""
    parts = [part for part in parameters.split("-") if part]
    told = [
        f"{part[:-1]} worker{'' if part == '1w' else 's'}" if re.fullmatch(r"\d+w", part) else part for part in parts
    ]
    return " · ".join(told)


def fact(name: str, content: object) -> tuple[str, str]:
    """A measured value, and its unit where the name has one: `exit_after_s` is "exit after", "0.95 s"."""
    name = shortened(flat(name[: 4 * LONGEST]), 60)
    if not name.endswith("_s"):
        return name.replace("_", " "), value(content)
    unit = "" if content in (None, [], {}) else " s"
    return name.removesuffix("_s").replace("_", " "), value(content) + unit


def value(content: object) -> str:
    """Any JSON value, on one line."""
    if isinstance(content, str):
        return shortened(flat(content[: 4 * LONGEST]), LONGEST)
    if isinstance(content, bool) or content is None:
        return {True: "yes", False: "no", None: "none"}[content]
    if isinstance(content, (int, float)):
        return _number(content)
    if isinstance(content, list):
        return shortened(", ".join(map(value, content[:20])) or "none", LONGEST)
    if isinstance(content, Mapping):
        return shortened(
            ", ".join(f"{key}: {value(item)}" for key, item in list(content.items())[:20]) or "none", LONGEST
        )
    return shortened(json.dumps(content, default=str), LONGEST)


def sentence(text: str) -> str:
    """What a check said, as a sentence begins."""
    return text[:1].upper() + text[1:]


def summary(text: str) -> str:
    """The same, so long as a page can take: all of it is in results.json."""
    return sentence(shortened(flat(text[: 4 * SUMMARY]), SUMMARY))


def duration(seconds: float) -> str:
    """How long a run took."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def plural(count: int, what: str) -> str:
    """`1 scenario`, `2 scenarios`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(content: object) -> str:
    return f"{content:.6g}" if isinstance(content, float) else str(content)
