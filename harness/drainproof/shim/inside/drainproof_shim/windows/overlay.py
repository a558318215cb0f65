"""Shows a module differently to those who see Windows.

Design. The module stays the same object with the same dictionary; only its class changes, to a subclass of the module
type with a property for each name that differs. A property is asked for `module.name`, `from module import name`,
`getattr` and `hasattr` alike, and finds in the frame that asks who it is. `__dict__`, `__dir__` and `__all__` differ in
the same way, so that `vars(module)`, `dir(module)` and `from module import *` tell the same story.

`importlib` makes modules by `type(sys)(name)`, and libraries ask `isinstance(x, type(os))`: `__new__` returns a plain
module, and every module is an instance.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Iterable, Mapping

from drainproof_shim.windows.callers import caller_sees_windows


class _Kind(type):
    """The class of the overlaid modules' classes."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, ModuleType)


def overlay(module: ModuleType, *, fake: Mapping[str, Any] | None = None, hidden: Iterable[str] = ()) -> None:
    """Shows the target `fake` (name: value) in `module`, and hides the names `hidden` from it.

    A name may be given that the module does not have: it exists for the target alone, or is hidden in any case.
    """
    real = module.__dict__
    shown: dict[str, Any] = dict(fake or {})
    gone: set[str] = set(hidden) - set(shown)
    if "__all__" in real:
        shown["__all__"] = [name for name in real["__all__"] if name not in gone]
    namespace: dict[str, Any] = {name: _view(name, module.__name__, real, shown, gone) for name in {*shown, *gone}}
    namespace["__new__"] = lambda cls, *arguments, **keywords: ModuleType(*arguments, **keywords)
    namespace["__dict__"] = property(lambda self: _dictionary(real, shown, gone) if _asked_by_target() else real)
    namespace["__dir__"] = lambda self: _names(real, shown, gone) if _asked_by_target() else sorted(real)
    namespace["__doc__"] = ModuleType.__doc__
    module.__class__ = _Kind("module", (type(module),), namespace)  # type: ignore[assignment]


def _asked_by_target() -> bool:
    """For a lambda in the class of a module: who asked for the attribute."""
    return caller_sees_windows(2)


def _view(name: str, module: str, real: dict[str, Any], shown: dict[str, Any], gone: set[str]) -> property:
    def get(self: ModuleType) -> Any:
        if caller_sees_windows():
            if name in shown:
                return shown[name]
            if name in gone:
                raise AttributeError("module {!r} has no attribute {!r}".format(module, name))
        try:
            return real[name]
        except KeyError:
            raise AttributeError("module {!r} has no attribute {!r}".format(module, name)) from None

    def put(self: ModuleType, value: Any) -> None:
        if caller_sees_windows():
            shown[name] = value
            gone.discard(name)
        real[name] = value

    def delete(self: ModuleType) -> None:
        if caller_sees_windows() and name in shown:
            del shown[name]
            gone.add(name)
        else:
            del real[name]

    return property(get, put, delete)


def _dictionary(real: dict[str, Any], shown: dict[str, Any], gone: set[str]) -> dict[str, Any]:
    return {**{name: value for name, value in real.items() if name not in gone}, **shown}


def _names(real: dict[str, Any], shown: dict[str, Any], gone: set[str]) -> list[str]:
    return sorted(({*real} - gone) | {*shown})


def public(module: ModuleType) -> list[str]:
    """The public names of a module."""
    return [name for name in module.__dict__ if not name.startswith("_")]
