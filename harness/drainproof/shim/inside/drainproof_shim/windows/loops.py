"""The event loops of Windows on those of Linux: what they cannot do, and when they hear of a Ctrl-C.

Everybody gets them, whoever asks for a loop: a loop is an object that is passed around, and what it can do must not
depend on who holds it. Both are the Unix loop below, which does what Windows can do as well.

The Proactor loop hears of a console event at once, because it waits on a wake-up socket that signals write to. The
selector loop does not: its `select` is not interrupted.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events as unix
import sys
import threading
from types import ModuleType
from typing import Any, NoReturn

from drainproof_shim.windows import names
from drainproof_shim.windows.callers import sees_windows
from drainproof_shim.windows.deafness import uninterrupted
from drainproof_shim.windows.overlay import overlay
from drainproof_shim.windows.processes import windows_status
from drainproof_shim.windows.signals import set_wakeup_fd, wakes_up

MODULE = "asyncio.windows_events"
_NO_REUSE_PORT = "reuse_port not supported by socket module"


_UnixLoop: Any = unix._UnixSelectorEventLoop
_UnixSubprocess: Any = unix._UnixSubprocessTransport  # type: ignore[attr-defined]
_UnixPolicy: Any = asyncio.DefaultEventLoopPolicy


# ruff: noqa: D102 - the methods are asyncio's


class _WindowsEventLoop(_UnixLoop):  # type: ignore[misc]
    """What both loops lack."""

    def add_signal_handler(self, sig: int, callback: Any, *arguments: Any) -> NoReturn:
        raise NotImplementedError

    def remove_signal_handler(self, sig: int) -> NoReturn:
        raise NotImplementedError

    async def create_unix_server(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise NotImplementedError

    async def create_unix_connection(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise NotImplementedError

    async def create_server(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords.get("reuse_port"):
            raise ValueError(_NO_REUSE_PORT)
        return await super().create_server(*arguments, **keywords)

    async def create_datagram_endpoint(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords.get("reuse_port"):
            raise ValueError(_NO_REUSE_PORT)
        return await super().create_datagram_endpoint(*arguments, **keywords)

    def _child_watcher_callback(self, pid: int, returncode: int, transp: Any) -> None:
        super()._child_watcher_callback(pid, windows_status(transp._proc, returncode), transp)


class ProactorEventLoop(_WindowsEventLoop):
    """The default loop."""

    def __init__(self, proactor: Any = None) -> None:
        super().__init__()
        if threading.current_thread() is threading.main_thread():
            set_wakeup_fd(self._csock.fileno())

    def close(self) -> None:
        if not self.is_closed() and threading.current_thread() is threading.main_thread():
            set_wakeup_fd(-1)
        super().close()

    def add_reader(self, fd: Any, callback: Any, *arguments: Any) -> NoReturn:
        raise NotImplementedError

    def add_writer(self, fd: Any, callback: Any, *arguments: Any) -> NoReturn:
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> NoReturn:
        raise NotImplementedError

    def remove_writer(self, fd: Any) -> NoReturn:
        raise NotImplementedError


class _WindowsSelectorEventLoop(_WindowsEventLoop):
    """The loop to choose where `add_reader` is needed."""

    def __init__(self, selector: Any = None) -> None:
        super().__init__(selector)
        self._selector.select = uninterrupted(self._selector.select, unless=wakes_up)

    async def connect_read_pipe(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise NotImplementedError

    async def connect_write_pipe(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise NotImplementedError

    async def _make_subprocess_transport(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise NotImplementedError


class IocpProactor:
    """Has the name that programs look for; there are no completion ports here."""

    def __init__(self, concurrency: int = 0xFFFFFFFF) -> None:
        raise NotImplementedError("completion ports are not emulated")


class _Policy(_UnixPolicy):  # type: ignore[misc]
    """Watching children goes on below; the target may not know of it."""

    def get_child_watcher(self) -> Any:
        if _target_asks():
            raise NotImplementedError
        return super().get_child_watcher()

    def set_child_watcher(self, watcher: Any) -> None:
        if _target_asks():
            raise NotImplementedError
        super().set_child_watcher(watcher)


class WindowsProactorEventLoopPolicy(_Policy):
    """The default policy."""

    _loop_factory = ProactorEventLoop


class WindowsSelectorEventLoopPolicy(_Policy):
    """The policy to choose where `add_reader` is needed."""

    _loop_factory = _WindowsSelectorEventLoop


def _target_asks() -> bool:
    """Whether it is the target itself, or `asyncio.get_child_watcher` for it, that calls our caller."""
    frame = sys._getframe(2)
    if frame.f_code.co_name in ("get_child_watcher", "set_child_watcher"):
        frame = frame.f_back  # type: ignore[assignment]
    return sees_windows(frame)


def install() -> None:
    """Makes the Proactor loop everybody's default, and shows the target what `asyncio` has on Windows."""
    module = ModuleType(MODULE)
    shown: dict[str, Any] = {
        "ProactorEventLoop": ProactorEventLoop,
        "SelectorEventLoop": _WindowsSelectorEventLoop,
        "IocpProactor": IocpProactor,
        "WindowsProactorEventLoopPolicy": WindowsProactorEventLoopPolicy,
        "WindowsSelectorEventLoopPolicy": WindowsSelectorEventLoopPolicy,
        "DefaultEventLoopPolicy": WindowsProactorEventLoopPolicy,
    }
    if hasattr(asyncio, "EventLoop"):
        shown["EventLoop"] = ProactorEventLoop
    for kind in (*shown.values(), _WindowsEventLoop, _Policy):
        kind.__module__ = MODULE
    module.__dict__.update(shown, _WindowsSelectorEventLoop=_WindowsSelectorEventLoop)
    sys.modules[MODULE] = module
    asyncio.set_event_loop_policy(WindowsProactorEventLoopPolicy())
    for name in ("send_signal", "terminate", "kill"):
        setattr(_UnixSubprocess, name, _passed_on(name))
    overlay(asyncio, fake={**shown, "windows_events": module}, hidden=names.ASYNCIO)


def _passed_on(name: str) -> Any:
    def method(self: Any, *arguments: Any) -> None:
        self._check_proc()
        getattr(self._proc, name)(*arguments)

    method.__name__ = name
    return method
