"""Sites: `module:qualified.name` in a target's code, found in an imported module, and replaced by a wrapper."""

from __future__ import annotations

import functools
import inspect
from types import ModuleType
from typing import Any, Callable

Enter = Callable[[tuple], Any]  # type: ignore[type-arg]  # gets the positional arguments; raises when it fires
Leave = Callable[[Any], None]  # gets what `enter` returned, unless that was None


class Missing(Exception):
    """There is no such site. `near` are names that look like it; `because` says what else is wrong, if anything.

    `module` is where the names are when it is another one than was named.
    """

    def __init__(self, *, near: list[str], because: str | None = None, module: str | None = None) -> None:
        super().__init__(because or "")
        self.near = near
        self.module = module
        self.because = because


class Site:
    """A callable attribute of a module or of a class in it."""

    def __init__(self, module: ModuleType, name: str) -> None:
        """Finds `name`, a path with dots, in `module`. Raises Missing."""
        self.module = module
        self.name = name
        *path, self.attribute = name.split(".")
        self.owner: Any = module
        done: list[str] = []
        for part in path:
            self.owner = _get(self.owner, part, done)
            done.append(part)
        found = _get(self.owner, self.attribute, done)
        self.original: Any = inspect.getattr_static(self.owner, self.attribute)
        held = isinstance(self.original, (staticmethod, classmethod))
        self.function: Any = self.original.__func__ if held else self.original
        self.is_coroutine = inspect.iscoroutinefunction(self.function)
        if inspect.isclass(found):
            near = [name + "." + each for each in ("__init__", "__call__") if each in vars(found)]
            raise Missing(near=near, because="it is a class; name the method that is to fail")
        if not callable(found):
            raise Missing(near=[], because="it is no function, but a {}".format(type(found).__name__))
        if _is_object(found):
            kind = next(each for each in type(found).__mro__ if "__call__" in vars(each))
            raise Missing(
                near=[kind.__qualname__ + ".__call__"],
                module=kind.__module__,
                because="it is an object; name its method",
            )

    def wrap(self, enter: Enter, leave: Leave) -> None:
        """Replaces the callable by one that calls `enter` first."""
        self.replace(wrapper(self.function, enter, leave))

    def replace(self, function: Any) -> None:
        """Replaces the callable by `function`, and keeps what it was: a static method, a class method, a function.

        Raises Missing where a compiled class takes no assignment.
        """
        if isinstance(self.original, (staticmethod, classmethod)):
            function = type(self.original)(function)
        try:
            setattr(self.owner, self.attribute, function)
        except (AttributeError, TypeError) as problem:
            raise Missing(near=[], because="it cannot be replaced: {}".format(problem)) from None


def _is_object(found: Any) -> bool:
    """Whether it is an instance that can be called, and no function, be it one of C, Cython, or `functools`.

    Servers look at what an application is, and so do frameworks: a function in its place is something else.
    """
    if isinstance(found, functools.partial):
        return False
    call = inspect.getattr_static(type(found), "__call__")
    return inspect.isfunction(call) or not hasattr(found, "__name__")


def _get(owner: Any, name: str, done: list[str]) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        import difflib

        near = difflib.get_close_matches(name, dir(owner))
        raise Missing(near=[".".join([*done, each]) for each in near]) from None


def wrapper(function: Any, enter: Enter, leave: Leave) -> Any:
    """A callable of the same kind and signature as `function`.

    `enter` is called when the body would begin to run: for a coroutine function when the coroutine is first awaited,
    for generators at the first item. `leave` is called when a coroutine that `enter` gave a token for has ended.
    """
    wrapped: Any
    if inspect.iscoroutinefunction(function):

        async def wrapped(*args: Any, **named: Any) -> Any:
            token = enter(args)
            if token is None:
                return await function(*args, **named)
            try:
                return await function(*args, **named)
            finally:
                leave(token)

    elif inspect.isasyncgenfunction(function):

        async def wrapped(*args: Any, **named: Any) -> Any:
            enter(args)
            generator = function(*args, **named)
            try:
                item = await generator.__anext__()
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await generator.aclose()
                        raise
                    except BaseException as problem:
                        item = await generator.athrow(problem)
                    else:
                        item = await generator.asend(sent)
            except StopAsyncIteration:
                return

    elif inspect.isgeneratorfunction(function):

        def wrapped(*args: Any, **named: Any) -> Any:
            enter(args)
            return (yield from function(*args, **named))

    else:

        def wrapped(*args: Any, **named: Any) -> Any:
            enter(args)
            return function(*args, **named)

    functools.wraps(function)(wrapped)
    if not (inspect.isfunction(function) or _is_object(function)):  # an lru_cache's `cache_clear`, a partial's `func`
        for name in dir(function):
            if not name.startswith("__") and not hasattr(wrapped, name):
                setattr(wrapped, name, getattr(function, name))
    return wrapped
