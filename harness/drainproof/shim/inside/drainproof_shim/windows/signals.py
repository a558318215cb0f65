"""`signal`: the seven signals of Windows and its two console events, on carriers that Linux has.

Carriers. Ctrl-C is SIGINT. Ctrl-Break is number 21 on both systems: SIGBREAK there, SIGTTIN here. SIGTERM has no
carrier from outside, where it is the end of the process (TerminateProcess) and no handler runs: the kernel's default
action stays in force, and a handler for it is only kept here and called by `raise_signal`. SIGABRT is 22 there, 6 here.

Default actions. SIGTTIN would stop the process, and SIGINT kill it in a way that Windows does not know; instead a
handler of ours ends it with the status that Windows gives to a program that dies of a console event.

A signal that is ignored stays so across exec on Linux; on Windows a child begins with the default actions, whatever its
parent ignored while it started it. What a child inherits there is that it does not hear Ctrl-C: it, or who started it,
was started with CREATE_NEW_PROCESS_GROUP. That is marked in the environment.
"""

from __future__ import annotations

import os
import signal
import threading
from enum import IntEnum
from types import FrameType
from typing import Any, Callable, Union

from drainproof_shim.windows import names
from drainproof_shim.windows.interpreter import CONTROL_C_EXIT
from drainproof_shim.windows.overlay import overlay, public

Handler = Union[Callable[[int, "FrameType | None"], Any], int, None]

INT, TERM, BREAK, ABRT = 2, 15, 21, 22
CARRIERS = {ABRT: 6}
"""The number here of a signal that has another one there."""

RAISED = signal.SIGRTMAX - 2
"""Carries SIGTERM from `raise_signal` to its handler, in the main thread and between two bytecodes as any signal."""

DEAF = "DRAINPROOF_NO_CTRL_C"
"""Set in the environment of processes that do not hear Ctrl-C, as by CREATE_NEW_PROCESS_GROUP."""

CRT_EXIT = 3
"""The status of a program that a raised signal ends, and of `os.abort`."""

SIGNALS = {"SIGINT": INT, "SIGILL": 4, "SIGFPE": 8, "SIGSEGV": 11, "SIGTERM": TERM, "SIGBREAK": BREAK, "SIGABRT": ABRT}
EVENTS = {"CTRL_C_EVENT": 0, "CTRL_BREAK_EVENT": 1}
VALID = frozenset(SIGNALS.values())

Signals = IntEnum("Signals", {**SIGNALS, **EVENTS}, module="signal")  # type: ignore[misc]

_TEXTS = {
    INT: "Interrupt", 4: "Illegal instruction", ABRT: "Aborted", 8: "Floating point exception",
    11: "Segmentation fault", TERM: "Terminated",
}  # fmt: skip
_NSIG = 23

_signal = signal.signal
_getsignal = signal.getsignal
_raise_signal = signal.raise_signal

_set_wakeup_fd = signal.set_wakeup_fd

_wakeup = {"fd": -1}

_kept: dict[int, Handler] = {TERM: signal.SIG_DFL, ABRT: signal.SIG_DFL}
"""The handlers that are not installed under the number that the target knows."""


def install() -> None:
    """Puts the default actions of Windows in force, and shows the target its signals."""
    if threading.current_thread() is threading.main_thread():
        if not callable(_getsignal(BREAK)):
            _signal(BREAK, end)
        if not callable(_getsignal(INT)) and DEAF not in os.environ:
            _signal(INT, signal.default_int_handler)
        _signal(RAISED, _term_was_raised)
    overlay(
        signal,
        fake={
            "Signals": Signals,
            **{name: Signals[name] for name in (*SIGNALS, *EVENTS)},
            "NSIG": _NSIG,
            "signal": signal_,
            "getsignal": getsignal,
            "raise_signal": raise_signal,
            "set_wakeup_fd": set_wakeup_fd,
            "strsignal": strsignal,
            "valid_signals": lambda: {Signals(number) for number in VALID},
        },
        hidden=[name for name in public(signal) if name not in names.SIGNAL],
    )


def end(signalnum: int, frame: FrameType | None) -> None:
    """The default action of a console event."""
    os._exit(CONTROL_C_EXIT)


def _term_was_raised(signalnum: int, frame: FrameType | None) -> None:
    handler = _kept[TERM]
    if callable(handler):
        handler(TERM, frame)


def handled() -> frozenset[int]:
    """The console events that somebody handles, in Python."""
    return frozenset(number for number in (INT, BREAK) if callable(h := _getsignal(number)) and h is not end)


def set_wakeup_fd(fd: int, *, warn_on_full_buffer: bool = True) -> int:
    """`signal.set_wakeup_fd`, for the target and for the loops."""
    before = _set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)
    _wakeup["fd"] = fd
    return before


def wakes_up() -> bool:
    """Whether a console event writes to a descriptor, which a `select` on it notices."""
    return _wakeup["fd"] >= 0


def signal_(signalnum: int, handler: Handler) -> Handler:
    """`signal.signal`, for the target."""
    number = int(signalnum)
    if number not in VALID:
        raise ValueError("invalid signal value")
    if threading.current_thread() is not threading.main_thread():
        raise ValueError("signal only works in main thread of the main interpreter")
    if not callable(handler) and handler not in (signal.SIG_DFL, signal.SIG_IGN):
        raise TypeError("signal handler must be signal.SIG_IGN, signal.SIG_DFL, or a callable object")
    before = getsignal(number)
    default = not callable(handler) and handler == signal.SIG_DFL
    if number in _kept:
        _kept[number] = signal.SIG_DFL if default else handler
    if number == ABRT:
        _signal(CARRIERS[ABRT], _abort_was_raised if callable(handler) else handler)
    elif number in (INT, BREAK) and default:
        _signal(number, end)
    elif number != TERM:
        _signal(number, handler)
    return before


def _abort_was_raised(signalnum: int, frame: FrameType | None) -> None:
    handler = _kept[ABRT]
    if callable(handler):
        handler(ABRT, frame)


def getsignal(signalnum: int) -> Handler:
    """`signal.getsignal`, for the target."""
    number = int(signalnum)
    if not 1 <= number < _NSIG:
        raise ValueError("signal number out of range")
    if number in _kept:
        return _kept[number]
    if number not in VALID:
        return None
    handler: Handler = _getsignal(number)
    return signal.SIG_DFL if handler is end else handler


def raise_signal(signalnum: int) -> None:
    """`signal.raise_signal`, for the target: runs the handler; without one the C library ends the program."""
    number = int(signalnum)
    if number not in VALID:
        raise OSError(22, "Invalid argument")
    handler = getsignal(number)
    if not callable(handler) and handler == signal.SIG_DFL:
        os._exit(CRT_EXIT)
    _raise_signal(RAISED if number == TERM else CARRIERS.get(number, number))


def strsignal(signalnum: int) -> str | None:
    """`signal.strsignal`, for the target."""
    number = int(signalnum)
    if not 1 <= number < _NSIG:
        raise ValueError("signal number out of range")
    return _TEXTS.get(number)
