"""`multiprocessing`: `spawn` is the only start method, for everybody, and `kill` is `terminate`."""

from __future__ import annotations

import multiprocessing
import multiprocessing.popen_spawn_posix as spawning
import signal
from multiprocessing import context
from typing import Any

ONLY = "spawn"


def install() -> None:
    """Takes the other start methods away. Nothing is fixed: the target may still set the one that there is."""
    contexts = context._concrete_contexts  # type: ignore[attr-defined]
    for method in [method for method in contexts if method != ONLY]:
        del contexts[method]
    default: Any = context._default_context
    default._default_context = contexts[ONLY]
    context.DefaultContext.get_all_start_methods = _all_start_methods  # type: ignore[method-assign]
    multiprocessing.get_all_start_methods = default.get_all_start_methods
    spawning.Popen.kill = _kill  # type: ignore[method-assign]


def _all_start_methods(self: Any) -> list[str]:
    return [ONLY]


def _kill(self: Any) -> None:
    """TerminateProcess in both cases, and the parent sees -15; a process under the emulation cannot handle SIGTERM."""
    self._send_signal(signal.SIGTERM)
