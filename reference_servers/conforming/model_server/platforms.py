"""Where Windows differs: which signals there are, what is left to do with them, and how a worker gets its sockets.

On Windows only Ctrl-C and Ctrl-Break reach a handler (SIGINT, SIGBREAK); a process that is ended from outside is not
asked. So there the supervisor stops its workers through their lines, and `STOP_SIGNALS` are fewer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""All of them stop the server in the same way."""

STATUS_CONTROL_C_EXIT = 0xC000013A
"""The status of a process that a console event ended, on Windows."""

ON_WINDOWS = sys.platform == "win32"

log = logging.getLogger("model_server")


def choose_event_loop() -> None:
    """One that can watch sockets: the default one of Windows cannot."""
    if ON_WINDOWS:
        asyncio.set_event_loop_policy(getattr(asyncio, "WindowsSelectorEventLoopPolicy")())  # noqa: B009


def say_what_stops_it() -> None:
    """For the log, where not every usual signal does."""
    if ON_WINDOWS:
        log.warning("signal handling is limited on Windows: only Ctrl-C and Ctrl-Break stop this server in order")


def let_stop_signals_in() -> None:
    """Unblocks them, now that there are handlers.

    As PID 1 of a container, a process that has no handler yet loses a stop signal for good. So there it is started with
    the signals blocked (`env --block-signal`): blocked ones wait.
    """
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def ignore_stop_signals() -> None:
    """From now on to the end of the process."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        return
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def claim_address(sock: socket.socket) -> None:
    """So that the address can be bound although old connections linger on it, and by nobody else beside this socket."""
    option: int = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)  # SO_REUSEADDR lets others in on Windows
    sock.setsockopt(socket.SOL_SOCKET, option, 1)


def something_came(sock: socket.socket) -> bool:
    """Whether the kernel holds bytes (or the end) of this connection that have not been read."""
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def start(command: Sequence[str], *, sockets: Sequence[socket.socket]) -> subprocess.Popen[bytes]:
    """Starts a process that inherits the sockets, by the same numbers."""
    if not ON_WINDOWS:
        return subprocess.Popen(command, pass_fds=[sock.fileno() for sock in sockets])
    for sock in sockets:
        os.set_handle_inheritable(sock.fileno(), True)  # type: ignore[attr-defined, unused-ignore]
    return subprocess.Popen(command, close_fds=False)
