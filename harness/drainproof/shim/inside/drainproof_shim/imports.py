"""Post-import hooks: a function that is called with a module right after its code has run, before its importer goes on.

So early, because a later `from module import name` must already get the wrapped name.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Callable, Sequence

from drainproof_shim import channel

Hook = Callable[[ModuleType], None]

_hooks: dict[str, list[Hook]] = {}


def when_imported(name: str, hook: Hook) -> None:
    """Call `hook` with the module `name` once it has been executed; at once if it already is."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is not None and not getattr(spec, "_initializing", False):
        _call(hook, module)
        return
    _hooks.setdefault(name, []).append(hook)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def fulfil(name: str, module: ModuleType) -> None:
    """Call the hooks that wait for `name`. Each is called once, also when the module is imported again."""
    for hook in _hooks.pop(name, ()):
        _call(hook, module)
    if not _hooks:
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]


def _call(hook: Hook, module: ModuleType) -> None:
    try:
        hook(module)
    except Exception as problem:
        channel.trouble("cannot arm in {}".format(module.__name__), problem)


class _Finder:
    """Finds nothing by itself: asks the others, and has the loader tell us when it has executed a module."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        if name not in _hooks:
            return None
        for finder in list(sys.meta_path):
            find_spec = getattr(finder, "find_spec", None)
            if isinstance(finder, _Finder) or find_spec is None:
                continue
            spec = find_spec(name, path, target)
            if spec is not None:
                _tell_us(spec)
                return spec
        return None


def _tell_us(spec: Any) -> None:
    """Make the loader call our hooks.

    The method is replaced in this one loader and put back, so that `module.__loader__` is what it is without us: tools
    ask it for source and resources, and compare its type.
    """
    loader = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:  # a namespace package, or a loader from before Python 3.4
        return

    def exec_module(module: ModuleType) -> None:
        getattr(spec.loader, "__dict__", {}).pop("exec_module", None)
        execute(module)
        fulfil(spec.name, module)

    if isinstance(loader, type) or not hasattr(loader, "__dict__"):  # shared by all built-in or frozen modules
        spec.loader = loader = _Loader(loader)
    loader.exec_module = exec_module


class _Loader:
    """Stands before a loader whose methods cannot be replaced."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
