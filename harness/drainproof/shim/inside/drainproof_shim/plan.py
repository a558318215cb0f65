"""What is armed in this session: `plan.json`, read once by each interpreter and inherited by fork."""

from __future__ import annotations

import importlib
import json
from typing import Any, Mapping

from drainproof_shim import channel

VERSION = 1


class Fault:
    """One armed exception: where (`sites`), what (`exception`, `message`), when, how often, for which requests."""

    def __init__(self, entry: Mapping[str, Any]) -> None:
        """Takes one entry of the plan's `faults`."""
        self.name: str = entry["name"]
        self.index: int = entry["index"]
        self.sites: tuple[str, ...] = tuple(entry["sites"])
        self.exception: str = entry["raise"]
        self.message: str = entry.get("message") or ""
        self.when: Mapping[str, Any] = entry["when"]
        self.shots: int = entry.get("shots") or 1
        paths = entry.get("paths")
        self.paths: frozenset[str] | None = None if paths is None else frozenset(map(_decoded, paths))


def _decoded(path: str) -> str:
    """A path as a server tells it to its application."""
    if "%" not in path:
        return path
    from urllib.parse import unquote  # only when it is needed, as it imports much

    return unquote(path)


class Plan:
    """The whole plan; `arm` puts it into effect in this interpreter."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """Takes the content of `plan.json`. Raises ValueError for a version that this shim does not know."""
        if content.get("version") != VERSION:
            raise ValueError("version %r instead of %r" % (content.get("version"), VERSION))
        self.faults: list[Fault] = [Fault(entry) for entry in content.get("faults") or ()]
        self.start_method: dict[str, str] | None = content.get("start_method")
        self.windows: dict[str, list[str]] | None = content.get("windows")

    @property
    def names(self) -> list[str]:
        """The names of the armed faults."""
        return [fault.name for fault in self.faults]

    def arm(self) -> None:
        """Arms everything. What cannot be armed is reported and leaves the rest alone."""
        if self.windows is not None:
            try:
                windows = importlib.import_module("drainproof_shim.windows")
                windows.activate(roots=self.windows["roots"], packages=self.windows["packages"])
            except Exception as problem:
                channel.trouble("cannot emulate Windows", problem)
        if self.start_method is not None:
            try:
                from drainproof_shim import start_method

                start_method.preset(self.start_method["method"], self.start_method["how"])
            except Exception as problem:
                channel.trouble("cannot preset the start method", problem)
        if self.faults:
            from drainproof_shim import arming

            arming.arm(self.faults)


def read(path: str) -> Plan:
    """The plan in the file `path`. Raises OSError, ValueError or KeyError for one that is unreadable."""
    with open(path, encoding="utf-8") as file:
        return Plan(json.load(file))
