"""Modules that cannot be imported on Windows, by whichever way the target tries."""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Mapping, Sequence

from drainproof_shim.windows import consoleio, names
from drainproof_shim.windows.callers import caller_sees_windows
from drainproof_shim.windows.overlay import overlay

_import = builtins.__import__
_import_module = importlib.import_module
_find_spec = importlib.util.find_spec


def install() -> None:
    """Hides what there is not; shows `msvcrt`; keeps everybody from another event loop that is made for Unix only."""
    builtins.__import__ = import_
    overlay(importlib, fake={"import_module": import_module, "__import__": import_})
    overlay(importlib.util, fake={"find_spec": find_spec})
    sys.modules.setdefault("uvloop", None)  # type: ignore[arg-type]


def _check(name: str) -> None:
    missing = names.NO_MODULES.get(name.partition(".")[0])
    if missing is not None:
        raise ModuleNotFoundError("No module named {!r}".format(missing), name=missing)
    if name == "crypt":
        raise ImportError("The crypt module is not supported on Windows", name=name)


def import_(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """`__import__`, for everybody."""
    if level == 0 and caller_sees_windows():
        _check(name)
        if name == "msvcrt":
            return consoleio.msvcrt()
    return _import(name, globals, locals, fromlist or (), level)


def import_module(name: str, package: str | None = None) -> ModuleType:
    """`importlib.import_module`, for the target."""
    _check(name)
    return consoleio.msvcrt() if name == "msvcrt" else _import_module(name, package)


def find_spec(name: str, package: str | None = None) -> Any:
    """`importlib.util.find_spec`, for the target."""
    return None if names.NO_MODULES.get(name) == name else _find_spec(name, package)
