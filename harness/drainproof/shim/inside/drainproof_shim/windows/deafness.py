"""What a console event does not interrupt on Windows.

There a console event arrives on a thread of its own, and the main thread learns of it when it next runs Python code. A
wait for a socket (`select`) or for a lock is not cut short, as a signal does on Linux: the handler runs late, when the
wait is over. (Only a wait for a wake-up socket ends at once, because the thread of the event writes to it.) So while
the main thread waits in one of them, the signals that carry the events are blocked in it; the kernel keeps them for
later. Events that nobody handles end the process at once on both systems and are not blocked.
"""

from __future__ import annotations

import signal
import threading
from typing import Any, Callable

from drainproof_shim.windows.signals import handled


def uninterrupted(wait: Callable[..., Any], *, unless: Callable[[], bool] = lambda: False) -> Callable[..., Any]:
    """The function `wait`, which console events do not interrupt when the main thread is in it.

    `unless`: asked each time; where it is true, events interrupt the wait as ever.
    """
    mask, block, restore = signal.pthread_sigmask, signal.SIG_BLOCK, signal.SIG_SETMASK
    main, current = threading.main_thread, threading.current_thread

    def waiting(*arguments: Any, **keywords: Any) -> Any:
        if current() is not main() or unless():
            return wait(*arguments, **keywords)
        before = mask(block, handled())
        try:
            return wait(*arguments, **keywords)
        finally:
            mask(restore, before)  # what was kept is delivered here

    return waiting


def install() -> None:
    """Makes the locks of `threading` deaf: conditions, and so events, queues and futures; and the end of threads."""
    for kind, name in ((threading.Condition, "wait"), (threading.Thread, "join")):
        setattr(kind, name, uninterrupted(getattr(kind, name)))
