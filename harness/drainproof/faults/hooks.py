"""preStop hooks, run as the kubelet runs them: to their end, or until there is no time left, and never longer.

A hook that is still running when its time is over is not ended by the kubelet: it goes on beside the stop signal, and
ends with the container. So does ours: what is waited for is the hook, and what runs it is a thread that may go on.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from drainproof.errors import CommandNotStarted
from drainproof.target.instance import Instance
from drainproof.target.pod import ExecHook, Hook, HttpGetHook, SleepHook, hook_to_json

Outcome = Literal["none", "done", "failed", "hung"]
"""`none`: there is no hook · `hung`: it was still running when its time was over."""

ENDING = 5.0
"""Seconds that the thread of a hook gets to end once the hook has been ended."""


@dataclass(frozen=True, kw_only=True)
class HookRun:
    """What became of a hook."""

    hook: Hook | None
    started: float
    """When it began: a command when its process did. What an engine takes before that is not the hook's."""
    ended: float
    """The end of the hook; of one that hung the moment at which it was not waited for any longer."""
    outcome: Outcome
    because: str
    """A sentence about the outcome."""

    @property
    def seconds(self) -> float:
        """What it took of the grace period."""
        return self.ended - self.started

    def to_json(self) -> dict[str, Any]:
        """JSON values for the timeline."""
        return {
            "hook": None if self.hook is None else hook_to_json(self.hook),
            "started": self.started,
            "ended": self.ended,
            "outcome": self.outcome,
            "because": self.because,
        }


class HookRunner:
    """Runs one hook in one instance. `wait_ended` comes when the instance is gone."""

    def __init__(self, *, instance: Instance) -> None:
        self._instance = instance
        self._thread: threading.Thread | None = None
        self._told: tuple[Outcome, str] | None = None
        self._times: tuple[float, float] | None = None
        """When a command began and ended by itself, whenever we heard of it."""
        self._asked = 0.0
        self._ended = 0.0

    def run(self, hook: Hook | None, *, until: float, abandoned_until: float) -> HookRun:
        """Runs `hook` and waits for it until `until` at the longest; what still runs is ended at the later moment."""
        started = time.monotonic()
        if hook is None:
            return HookRun(
                hook=None, started=started, ended=started, outcome="none", because="there is no preStop hook"
            )
        if isinstance(hook, SleepHook):
            return self._sleep(hook, started=started, until=until)
        self._asked = started
        what = self._execute if isinstance(hook, ExecHook) else self._get
        self._thread = threading.Thread(
            target=self._keep, args=(lambda: what(hook, until=abandoned_until),), name="preStop hook", daemon=True
        )
        self._thread.start()
        self._thread.join(max(0.0, until - time.monotonic()))
        told = self._told
        if told is None:
            text = f"{hook} was still running when its time was over"
            return HookRun(hook=hook, started=started, ended=time.monotonic(), outcome="hung", because=text)
        started, ended = self._times or (started, self._ended)
        return HookRun(hook=hook, started=started, ended=ended, outcome=told[0], because=told[1])

    def wait_ended(self) -> None:
        """Waits for the thread of a hook that hung. With its target gone, or at its moment, it ends by itself."""
        if self._thread is not None:
            self._thread.join(ENDING)

    @property
    def delay(self) -> float:
        """Seconds that passed before a command began, as far as is known: those of the engine, or of a busy machine."""
        return 0.0 if self._times is None else self._times[0] - self._asked

    def _sleep(self, hook: SleepHook, *, started: float, until: float) -> HookRun:
        over = started + hook.seconds
        self._instance.wait_exit(until=min(over, until))
        now = time.monotonic()
        if self._instance.exit_status() is not None and now < over:
            return HookRun(
                hook=hook,
                started=started,
                ended=now,
                outcome="failed",
                because="the container ended before the sleep did",
            )
        if over > until:
            text = f"{hook} was still running when its time was over"
            return HookRun(hook=hook, started=started, ended=now, outcome="hung", because=text)
        return HookRun(hook=hook, started=started, ended=now, outcome="done", because=f"{hook} was over")

    def _keep(self, what: Callable[[], tuple[Outcome, str]]) -> None:
        try:
            told: tuple[Outcome, str] = what()
        except Exception as error:  # it belongs to the hook: without it the thread would end, and nobody know why
            told = "failed", f"{type(error).__name__}: {error}"
        self._ended = time.monotonic()
        self._told = told

    def _execute(self, hook: Any, *, until: float) -> tuple[Outcome, str]:
        try:
            done = self._instance.execute(hook.command, until=until)
        except CommandNotStarted as error:
            self._times = (time.monotonic(),) * 2  # nothing ran that could have taken its time
            return "failed", str(error)
        except ProcessLookupError:
            self._times = (time.monotonic(),) * 2  # likewise
            return "failed", "the container had ended before the hook began"
        self._times = done.started, done.ended
        if done.code == 0:
            return "done", f"{hook} ended with status 0"
        said = f": {done.output.strip()}" if done.output.strip() else ""
        if done.code is None:
            return "failed", f"{hook} ended with the container{said}"
        return "failed", f"{hook} ended with status {done.code}{said}"

    def _get(self, hook: Any, *, until: float) -> tuple[Outcome, str]:
        assert isinstance(hook, HttpGetHook)
        instance = self._instance
        timeout = max(0.1, until - time.monotonic())
        connection = http.client.HTTPConnection(instance.host, instance.ports[hook.port], timeout=timeout)
        try:
            connection.request("GET", hook.path, headers={"User-Agent": "kube-lifecycle/drainproof", **hook.headers})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return "failed", f"{hook} got no answer: {type(error).__name__}: {error}".rstrip(": ")
        finally:
            connection.close()
        return "done", f"{hook} was answered with {status}"  # the kubelet does not look at the status
