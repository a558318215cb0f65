"""Faults in what already runs: an exception that surfaces at the innermost `await` of a coroutine that waits.

Design. No thread, and no `cancel()`: a cancellation is another exception, and `cancel` hands it to whatever the task
awaits, so that a `gather` cancels its children. Instead the task's own wake-up is taken from the future that it waits
for, and is called with a future of ours that holds the exception. The task then raises where it waits; what it waited
for goes on untouched, and so do its other waiters. That needs two attributes that asyncio has had since Python 3.4 in
its C and its Python tasks (`Task._fut_waiter`, `Future._callbacks`), and uvloop uses asyncio's tasks. What lost:
`coroutine.throw` (the task would not know of it), and `PyThreadState_SetAsyncExc` (hits whatever the thread executes).

A timer in the loop, every 10 ms, looks whether the time has come, only while a fault that waits for a time or a command
has something in that loop that it could strike.
"""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any, Callable

from drainproof_shim import channel, start_method
from drainproof_shim.trigger import Trigger, place

INTERVAL = 0.01  # seconds between two looks

Strike = Callable[[], bool]  # whether it struck; False: try again

_STARTED_BY_MULTIPROCESSING = start_method.started_by_multiprocessing()

_entries: dict[Any, Entry] = {}
_timers: dict[int, weakref.ref[Any]] = {}  # id of a loop → the loop, while a timer of ours is pending in it
_state = {"forked": False}


class Entry:
    """Something in a running loop that a fault can strike."""

    def __init__(
        self, trigger: Trigger, loop: Any, strike: Strike, *, rank: int, main_first: bool, key: Any = None
    ) -> None:
        """`rank`: of several entries of a fault the lowest is struck. `main_first`: leave it to the main process.

        Entries of the same `key` are one entry, that is left as often as it was entered: a function that calls itself.
        """
        self.trigger = trigger
        self.key = self if key is None else key
        self.held = 0
        self.loop = loop
        self.strike = strike
        self.rank = rank
        self.main_first = main_first


def watch(entry: Entry) -> Entry:
    """Have the loop's timer look after `entry`, until it is `unwatch`ed."""
    entry = _entries.setdefault(entry.key, entry)
    entry.held += 1
    if entry.main_first:
        mark(entry.trigger, here=True)
    timer = _timers.get(id(entry.loop))
    if timer is None or timer() is not entry.loop:
        _start_timer(entry.loop)
    return entry


def unwatch(entry: Entry) -> None:
    """The entry can no longer be struck."""
    if _entries.get(entry.key) is not entry:  # of the parent, or left before
        return
    entry.held -= 1
    if entry.held:
        return
    del _entries[entry.key]
    if entry.main_first and not any(each.trigger is entry.trigger for each in list(_entries.values())):
        mark(entry.trigger, here=False)


def forked() -> None:
    """In a child: nothing of what the parent runs runs here."""
    _state["forked"] = True
    _entries.clear()
    _timers.clear()


def _start_timer(loop: Any) -> None:
    _timers[id(loop)] = weakref.ref(loop)
    loop.call_later(INTERVAL, _look, loop)


def _look(loop: Any) -> None:
    _timers.pop(id(loop), None)
    mine = [entry for entry in list(_entries.values()) if entry.loop is loop and not entry.trigger.spent]
    if not mine or loop.is_closed():
        return
    _start_timer(loop)  # before anything is struck: a KeyboardInterrupt may go right through here
    asyncio = sys.modules["asyncio"]
    if asyncio.current_task(loop) is not None:  # a loop that was made re-entrant
        return
    due = {}  # one look at the clock or the command for all that a fault could strike
    for entry in sorted(mine, key=lambda entry: entry.rank):
        trigger = entry.trigger
        if trigger not in due:
            due[trigger] = trigger.due_now()
        if due[trigger] and not (entry.main_first and main_has_it(trigger)) and entry.strike():
            due[trigger] = False


@channel.guarded
def mark(trigger: Trigger, *, here: bool) -> None:
    """Say that the main process has something for this fault to strike, so that workers leave it alone."""
    if _is_child():
        return
    path = _mark_path(trigger)
    try:
        if here:
            new = "{}-{}".format(path, os.getpid())
            file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.write(file, b"%d" % os.getpid())
            os.close(file)
            os.replace(new, path)  # a worker that looks in between must not find it empty
        else:
            os.unlink(path)
    except OSError:
        pass


@channel.guarded
def main_has_it(trigger: Trigger) -> bool:
    """Whether this is a worker, and the main process has something for this fault to strike."""
    if not _is_child():
        return False
    try:
        with open(_mark_path(trigger)) as file:
            pid = int(file.read())
        os.kill(pid, 0)
    except PermissionError:  # it lives, as another user
        return True
    except (OSError, ValueError):
        return False
    return True


def _mark_path(trigger: Trigger) -> str:
    return "{}/claims/.main-{}".format(channel.folder(), trigger.fault.name.replace("/", "_"))


def _is_child() -> bool:
    return _state["forked"] or _STARTED_BY_MULTIPROCESSING


def throw(task: Any, trigger: Trigger, site: str) -> bool:
    """Make `task` raise the fault's exception where it waits. False when it does not wait right now."""
    future: Any = getattr(task, "_fut_waiter", None)
    if future is None or future.done():
        return False
    callbacks: list[Any] = getattr(future, "_callbacks", None) or []
    mine = [each for each in callbacks if getattr(each[0], "__self__", None) is task]
    if not mine:
        return False
    wake_up, context = mine[0]
    problem = trigger.fire(site=site, where=innermost(task.get_coro()), task=task)
    if problem is None:
        return False
    asyncio = sys.modules["asyncio"]
    ours = asyncio.get_running_loop().create_future()
    ours.set_exception(problem)
    future.remove_done_callback(wake_up)
    if not isinstance(future, asyncio.Task):
        # A `gather` that nobody waits for any more would log its own end as an exception that was never retrieved.
        future.add_done_callback(_retrieve)
    context.run(wake_up, ours)
    return True


def _retrieve(future: Any) -> None:
    if not future.cancelled():
        future.exception()


def innermost(coroutine: Any) -> str:
    """`file:line in function` of the innermost frame that `coroutine` waits in."""
    frame = None
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None) or frame
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return place(frame.f_code, frame.f_lineno) if frame is not None else "?"
