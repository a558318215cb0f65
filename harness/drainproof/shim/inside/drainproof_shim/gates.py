"""A gate stands before a function of the target and lets calls through, until its fault fires."""

from __future__ import annotations

import sys
import weakref
from typing import Any, Callable

from drainproof_shim import channel, requests, waiting
from drainproof_shim.trigger import Trigger, place


class Ladder:
    """The gates of one fault that a request passes from the outside in; the innermost one shall fire.

    A framework that is imported need not be what serves: the innermost step that is really reached is learnt from the
    requests themselves. Until one has gone by, the innermost step that is armed is taken to be it.
    """

    def __init__(self) -> None:
        self.armed: list[int] = []  # depths of the steps; larger is further in
        self._reached = -1
        self._settled = False

    def chosen(self) -> int:
        """The depth of the step that may fire."""
        return self._reached if self._settled else max(self.armed)

    def enter(self, depth: int) -> None:
        """A request has come to the step at `depth`."""
        self._reached = max(self._reached, depth)

    def leave(self) -> None:
        """A request has left its outermost step, and what it reached on its way is known."""
        self._settled = self._reached >= 0


class Gate:
    """Before one site of one fault."""

    def __init__(
        self,
        trigger: Trigger,
        site: str,
        *,
        function: Any = None,
        strikes: bool = False,
        rank: int = 0,
        main_first: bool = False,
        ladder: Ladder | None = None,
        depth: int = 0,
        only_if: Callable[[], bool] | None = None,
    ) -> None:
        """`strikes`: a coroutine that already runs is struck where it waits. For the rest see `waiting.Entry`.

        Only for coroutine functions: nothing else says when the function is over, and the task that called it goes on.
        """
        self.trigger = trigger
        self.site = site
        self.where = place(getattr(function, "__code__", None))
        self.strikes = strikes and trigger.timed
        self.rank = rank
        self.main_first = main_first
        self.ladder = ladder
        self.depth = depth
        self.only_if = only_if
        if ladder is not None:
            ladder.armed.append(depth)

    def enter(self, _arguments: tuple[Any, ...] = ()) -> Any:
        """Raises the fault's exception if its time has come. Returns a token for `leave`, or None."""
        if self.trigger.spent or channel.get_ident() in channel.inside:
            return None
        return self._enter()

    @channel.guarded
    def _enter(self) -> Any:
        trigger = self.trigger
        paths, served = trigger.fault.paths, requests.current.get()
        if paths is not None and served is not None and paths.isdisjoint(served):  # None: no server that tells
            return None
        ladder = self.ladder
        if ladder is not None:
            ladder.enter(self.depth)
            if self.depth != ladder.chosen():
                return self if self.depth == min(ladder.armed) else None
        if self.only_if is not None and not self.only_if():
            return None
        left_alone = self.strikes and self.main_first and waiting.main_has_it(trigger)
        if not left_alone and trigger.due_at_call():
            problem = trigger.fire(site=self.site, where=self.where, task=_current_task())
            if problem is not None:
                raise problem
        if self.strikes:
            return self.stand_by(_current_task())
        return self if ladder is not None and self.depth == min(ladder.armed) else None

    def stand_by(self, task: Any) -> waiting.Entry | None:
        """Have `task` struck where it waits, when the time comes."""
        if task is None:
            return None
        waits = weakref.ref(task)  # a task that nobody holds any more goes as it would without us

        def strike() -> bool:
            task = waits()
            return task is not None and waiting.throw(task, self.trigger, self.site)

        return waiting.watch(
            waiting.Entry(
                self.trigger,
                sys.modules["asyncio"].get_running_loop(),
                strike,
                rank=self.rank,
                main_first=self.main_first,
                key=(self, waits),
            )
        )

    def leave(self, token: Any) -> None:
        """The coroutine that `enter` gave `token` for has ended."""
        if isinstance(token, waiting.Entry):
            waiting.unwatch(token)
        elif self.ladder is not None:
            self.ladder.leave()


def _current_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None
