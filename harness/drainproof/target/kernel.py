"""The few Linux calls that not every Python has a name for: pidfds and prctl.

Python's own `os.pidfd_open` and `signal.pidfd_send_signal` are missing where the interpreter was built against old
kernel headers (conda builds, for one), although the running kernel knows them; so the bare system call is the fallback.
"""

from __future__ import annotations

import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_SYS_PIDFD_SEND_SIGNAL = 424
_SYS_PIDFD_OPEN = 434
_CLONE_NEWNET = 0x40000000
"""The numbers of newer system calls are the same on every architecture."""


def _call(name: str, *arguments: object) -> int:
    # Imported late: the pytest process needs ctypes only where Python lacks the pidfd functions.
    import ctypes  # noqa: PLC0415

    result = getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)


def pidfd_open(pid: int) -> int:
    """A descriptor of the process, readable once it has exited. Raises OSError (ESRCH where there is none)."""
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    descriptor = _call("syscall", _SYS_PIDFD_OPEN, pid, 0)
    os.set_inheritable(descriptor, False)
    return descriptor


def pidfd_send_signal(descriptor: int, signum: int) -> None:
    """Sends a signal to exactly that process. Raises ProcessLookupError where it is gone."""
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(descriptor, signum)
    else:
        _call("syscall", _SYS_PIDFD_SEND_SIGNAL, descriptor, signum, None, 0)


def enter_network_of(pid: int) -> None:
    """Moves the calling thread into the network namespace of a process. Raises OSError where we may not."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)


def become_subreaper() -> None:
    """From now on every orphaned descendant becomes a child of this process."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """SIGKILL for this process when the thread that forked it ends."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0)


def set_name(name: str) -> None:
    """What `ps` and `top` show as the name of this process; at most 15 bytes are kept."""
    _call("prctl", _PR_SET_NAME, name.encode(), 0, 0, 0)
