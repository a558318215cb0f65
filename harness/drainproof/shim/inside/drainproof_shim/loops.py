"""Faults in an event loop itself: its main coroutine, a background task, a callback.

Every way to run a loop (`asyncio.run`, `Runner.run`, `run_until_complete`, uvicorn's and uvloop's own) ends in the
loop's `run_forever`, and gives its main coroutine to `run_until_complete`, so these two are wrapped.

Only loops in the main thread of their process count. What runs beside it (gunicorn's control socket, a library's helper
thread) is not what serves, and would be taken for it in the main process of servers that have no event loop themselves.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType
from typing import Any, Callable

from drainproof_shim import channel, waiting
from drainproof_shim.imports import when_imported
from drainproof_shim.trigger import Trigger, place

# What asyncio itself runs before it closes a loop.
_CLEANING = ("shutdown_asyncgens", "shutdown_default_executor")

Runs = Callable[[Any, Any], None]  # gets the loop that begins to run, and its main task or None

_hooks: list[Runs] = []
_main_hooks: list[Callable[[ModuleType], None]] = []
_main_triggers: list[Trigger] = []
_mains: dict[int, Any] = {}  # id of a loop → what was given to run_until_complete


def when_running(hook: Runs) -> None:
    """Call `hook` in each loop when it has begun to run in its process's main thread."""
    _watch_loops()
    _hooks.append(hook)


def when_main_is_complete(hook: Callable[[ModuleType], None]) -> None:
    """Call `hook` with the program itself (`__main__`), which is never imported, right before a loop of it runs."""
    _watch_loops()
    _main_hooks.append(hook)


def _watch_loops() -> None:
    if not _hooks and not _main_hooks:
        when_imported("asyncio.base_events", lambda module: _wrap(getattr(module, "BaseEventLoop", None)))
        when_imported("uvloop", lambda module: _wrap(getattr(module, "Loop", None)))


def _wrap(kind: Any) -> None:
    run_until_complete, run_forever = kind.run_until_complete, kind.run_forever

    @functools.wraps(run_until_complete)
    def until_complete(self: Any, future: Any) -> Any:
        _mains[id(self)] = future
        try:
            return run_until_complete(self, future)
        finally:
            _mains.pop(id(self), None)

    @functools.wraps(run_forever)
    def forever(self: Any) -> Any:
        _look_into_main()
        main = _mains.get(id(self))
        serves = main is not None and not _cleans(main) and _in_main_thread()
        for trigger in _main_triggers if serves else ():
            waiting.mark(trigger, here=True)  # before it starts workers in its first step
        try:
            self.call_soon(_begins, self, main)
        except RuntimeError:
            pass  # closed, or running already: the call below says so
        return run_forever(self)

    kind.run_until_complete, kind.run_forever = until_complete, forever


def _cleans(main: Any) -> bool:
    return getattr(getattr(main, "cr_code", None), "co_name", None) in _CLEANING


def _in_main_thread() -> bool:
    threading = sys.modules["threading"]  # asyncio has imported it
    return bool(threading.current_thread() is threading.main_thread())


def _look_into_main() -> None:
    while _main_hooks:
        hook = _main_hooks.pop()
        try:
            hook(sys.modules["__main__"])
        except Exception as problem:
            channel.trouble("cannot arm in __main__", problem)


def _begins(loop: Any, main: Any) -> None:
    if _cleans(main) or not _in_main_thread():
        return
    task = None
    asyncio = sys.modules["asyncio"]
    if isinstance(main, asyncio.Task):
        task = main
    elif main is not None:
        task = next((each for each in asyncio.all_tasks(loop) if each.get_coro() is main), None)
        if task is None:
            return  # a future, as the `gather` that asyncio.run cancels its leftovers with
    for hook in _hooks:
        try:
            hook(loop, task)
        except Exception as problem:
            channel.trouble("cannot arm in a loop", problem)


def arm_main(trigger: Trigger) -> None:
    """`@main`: the coroutine given to asyncio.run, or to what stands for it. Struck where it waits."""

    def hook(loop: Any, task: Any) -> None:
        if task is None:
            return
        site = "@main:" + getattr(task.get_coro(), "__qualname__", "?")
        channel.report("armed", fault=trigger.fault.name, site=site, module_file=_file(task.get_coro()))
        _stand_by(trigger, loop, lambda: waiting.throw(task, trigger, site), task)

    _main_triggers.append(trigger)
    when_running(hook)


async def background_task(problem: BaseException) -> None:
    """Fails, as a task of the target would that nobody waits for."""
    raise problem


def failing_callback(problem: BaseException) -> None:
    """Fails, as a callback of the target would."""
    raise problem


def arm_task(trigger: Trigger) -> None:
    """`@task`: a background task in a running loop, that nobody waits for, raises."""

    def hook(loop: Any, task: Any) -> None:
        def strike() -> bool:
            problem = trigger.fire(site="@task", where=place(background_task.__code__))
            if problem is not None:
                loop.create_task(background_task(problem))
            return problem is not None

        channel.report("armed", fault=trigger.fault.name, site="@task", module_file=_file(task and task.get_coro()))
        _stand_by(trigger, loop, strike, task)

    when_running(hook)


def arm_callback(trigger: Trigger) -> None:
    """`@callback`: a callback in a running loop raises."""

    def hook(loop: Any, task: Any) -> None:
        def strike() -> bool:
            problem = trigger.fire(site="@callback", where=place(failing_callback.__code__))
            if problem is not None:
                loop.call_soon(failing_callback, problem)
            return problem is not None

        channel.report("armed", fault=trigger.fault.name, site="@callback", module_file=_file(task and task.get_coro()))
        _stand_by(trigger, loop, strike, task)

    when_running(hook)


def _stand_by(trigger: Trigger, loop: Any, strike: waiting.Strike, task: Any) -> None:
    """Strike on time or on command; for a fault that counts calls, the n-th loop that runs counts."""
    if not trigger.timed:
        if not trigger.due_at_call():
            return
        trigger.call, trigger.probability, trigger.after = 0, None, 0.0
    entry = waiting.watch(waiting.Entry(trigger, loop, strike, rank=0, main_first=True))
    if task is not None:
        task.add_done_callback(lambda _: waiting.unwatch(entry))


def _file(coroutine: Any) -> str | None:
    code = getattr(coroutine, "cr_code", None)
    return getattr(code, "co_filename", None)
