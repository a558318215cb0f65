"""`os` and `subprocess`: processes that are ended by TerminateProcess and whose status is a 32-bit number."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import operator
import os
import shlex
import signal
import subprocess
import sys
from typing import Any

from drainproof_shim.windows import names, signals
from drainproof_shim.windows.callers import outside, sees_windows
from drainproof_shim.windows.interpreter import CONTROL_C_EXIT
from drainproof_shim.windows.overlay import overlay, public

STATUS_CONTROL_C_EXIT = 0xC000013A
STATUS_ACCESS_VIOLATION = 0xC0000005
TERMINATED = 1
"""The status of what `Popen.terminate` ends."""

_WAYS = (subprocess.__file__, os.path.dirname(asyncio.__file__) + "/")
"""What the target starts processes by."""

_kill, _killpg, _getpgid = os.kill, os.killpg, os.getpgid
_Popen = subprocess.Popen
_init = _Popen.__init__
_signature = inspect.signature(_init)
_handle_exitstatus = _Popen._handle_exitstatus  # type: ignore[attr-defined]
_methods = {name: getattr(_Popen, name) for name in ("send_signal", "terminate", "kill")}


_ended_by_event: set[int] = set()
"""Children that a console event has ended, in a way that their status does not show."""


class WindowsError(OSError):
    """An OSError with the number that Windows gives."""

    def __init__(self, winerror: int, text: str, errno: int) -> None:
        super().__init__(errno, text)
        self.winerror = winerror

    def __str__(self) -> str:
        return "[WinError {}] {}".format(self.winerror, self.strerror)


WindowsError.__name__ = WindowsError.__qualname__ = "OSError"


def install() -> None:
    """Shows the target the processes of Windows."""
    only_here = {
        "name": "nt",
        "kill": kill,
        "abort": abort,
        "startfile": startfile,
        "add_dll_directory": DllDirectory,
        "P_DETACH": 4,
        "P_OVERLAY": 2,
        "supports_bytes_environ": False,
        "get_handle_inheritable": os.get_inheritable,
        "set_handle_inheritable": os.set_inheritable,
        # Their values on Windows mean something else here; 0 leaves the flags of os.open as they are.
        **{
            "O_" + flag: 0
            for flag in ("BINARY", "TEXT", "NOINHERIT", "RANDOM", "SEQUENTIAL", "SHORT_LIVED", "TEMPORARY")
        },
    }
    overlay(os, fake=only_here, hidden=[name for name in public(os) if name not in names.OS])
    overlay(subprocess, fake={**names.SUBPROCESS, "STARTUPINFO": StartupInfo})
    for name, method in (
        ("_of_target", False),
        ("__init__", _popen),
        ("_handle_exitstatus", _exitstatus),
        ("send_signal", _send_signal),
        ("terminate", _terminate),
        ("kill", _terminate_as_kill),
    ):
        setattr(_Popen, name, method)


# ---- os


def kill(pid: int, sig: int) -> None:
    """`os.kill`, for the target: a console event, or TerminateProcess with the number as the exit status."""
    pid, number = operator.index(pid), operator.index(sig)
    if pid < 0 or (pid == 0 and number not in signals.EVENTS.values()):
        raise WindowsError(87, "Invalid parameter", 22)
    if pid:
        _open_process(pid)
    if number in signals.EVENTS.values():
        _console_event(pid, signals.INT if number == signals.EVENTS["CTRL_C_EVENT"] else signals.BREAK)
    elif pid == os.getpid():
        os._exit(number & 0xFF)
    else:
        _kill(pid, number if _dies_of(pid, number) else signal.SIGKILL)


def _open_process(pid: int) -> None:
    try:
        _kill(pid, 0)
    except ProcessLookupError:
        raise WindowsError(87, "Invalid parameter", 22) from None
    except PermissionError:
        raise WindowsError(5, "Access is denied", 13) from None


def _console_event(pid: int, carrier: int) -> None:
    """To everybody on the console (0), or to a process group, whose members Ctrl-C does not reach, by its leader."""
    if pid in (0, os.getpgrp()):
        _killpg(os.getpgrp(), carrier)
        return
    leads_a_group = _getpgid(pid) == pid
    if leads_a_group and carrier != signals.BREAK:
        return
    if carrier == signals.BREAK and _has_default_action(pid, carrier):
        # No Python, or one that has only just been started: the default action of the carrier is not the event's.
        _ended_by_event.add(pid)
        _kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        _killpg(pid, carrier) if leads_a_group else _kill(pid, carrier)


def _dies_of(pid: int, number: int) -> bool:
    """Whether the kernel ends the process by this signal, so that its parent can tell which number it was."""
    return number in (signal.SIGTERM, signal.SIGKILL) and _has_default_action(pid, number)


def _has_default_action(pid: int, number: int) -> bool:
    try:
        with open("/proc/{}/status".format(pid)) as file:
            masks = dict(line.split(":", 1) for line in file if line.startswith("Sig"))
    except OSError:
        return False
    return not any(int(masks[name], 16) >> (number - 1) & 1 for name in ("SigBlk", "SigIgn", "SigCgt"))


def abort() -> None:
    """`os.abort`, for the target."""
    os._exit(signals.CRT_EXIT)


def startfile(filepath: str, *arguments: Any, **keywords: Any) -> None:
    """`os.startfile`: no application is associated with any file."""
    raise WindowsError(1155, "No application is associated with the specified file for this operation", 22)


class DllDirectory:
    """What `os.add_dll_directory` returns."""

    def __init__(self, path: str) -> None:
        self.path = path

    def close(self) -> None:
        """Nothing was added."""

    def __enter__(self) -> DllDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---- subprocess


class StartupInfo:
    """`subprocess.STARTUPINFO`: holds what it is given."""

    def __init__(self, **fields: Any) -> None:
        self.dwFlags = self.wShowWindow = 0
        self.lpAttributeList: dict[str, list[int]] = {"handle_list": []}
        self.hStdInput = self.hStdOutput = self.hStdError = None
        self.__dict__.update(fields)


def _popen(self: Any, *arguments: Any, **keywords: Any) -> None:
    """`Popen.__init__`, for everybody."""
    self._of_target = sees_windows(outside(sys._getframe(1), files=_WAYS))
    if not self._of_target:
        _init(self, *arguments, **keywords)
        return
    given = dict(_signature.bind(self, *arguments, **keywords).arguments)
    given.update(given.pop("kwargs", {}))
    del given["self"]
    _init(self, **_on_linux(given))


def _on_linux(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a Popen on Windows as Linux takes them. Raises what Windows raises."""
    if given.pop("preexec_fn", None) is not None:
        raise ValueError("preexec_fn is not supported on Windows platforms")
    for name in ("user", "group", "extra_groups"):
        if given.get(name) is not None:
            raise ValueError("The {!r} parameter is not supported on the current platform".format(name))
    assert not given.get("pass_fds"), "pass_fds not supported on Windows."
    given.pop("start_new_session", None)  # taken, and without effect
    given.pop("startupinfo", None)
    if given.pop("creationflags", 0) & names.SUBPROCESS["CREATE_NEW_PROCESS_GROUP"]:
        given["preexec_fn"] = _lead_a_group
        given["env"] = _deaf(given.get("env"))
    elif signals.DEAF in os.environ:
        given["env"] = _deaf(given.get("env"))
    if isinstance(given["args"], str) and not given.get("shell"):
        given["args"] = shlex.split(given["args"])  # a command line, which the program takes apart itself there
    return given


def _deaf(environment: Any) -> dict[Any, Any]:
    """The environment of a child that does not hear Ctrl-C, nor do its own children."""
    return {**(os.environ if environment is None else environment), signals.DEAF: "1"}


def _lead_a_group() -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def windows_status(process: Any, status: int) -> int:
    """What a parent on Windows sees where it sees `status` here. `process`: its Popen object."""
    if not getattr(process, "_of_target", False):
        return status
    if getattr(process, "_was_terminated", False) and status == -signal.SIGKILL:
        return TERMINATED
    if status in (CONTROL_C_EXIT, -signal.SIGINT) or (status < 0 and process.pid in _ended_by_event):
        return STATUS_CONTROL_C_EXIT
    if status == -signal.SIGSEGV:
        return STATUS_ACCESS_VIOLATION
    if status == -signal.SIGABRT:
        return signals.CRT_EXIT
    return abs(status)


def _exitstatus(self: Any, sts: int, *arguments: Any, **keywords: Any) -> None:
    _handle_exitstatus(self, sts, *arguments, **keywords)
    if self.returncode is not None:
        self.returncode = windows_status(self, self.returncode)


def _send_signal(self: Any, sig: int) -> None:
    if not self._of_target:
        _methods["send_signal"](self, sig)
        return
    if self.returncode is not None:
        return
    if sig == signal.SIGTERM:
        self.terminate()
    elif sig in (signals.EVENTS["CTRL_C_EVENT"], signals.EVENTS["CTRL_BREAK_EVENT"]):
        kill(self.pid, sig)
    else:
        raise ValueError("Unsupported signal: {}".format(sig))


def _terminate(self: Any) -> None:
    if not self._of_target:
        _methods["terminate"](self)
    elif self.returncode is None:  # without a poll, which would take the status away from asyncio's watcher
        self._was_terminated = True
        _kill(self.pid, signal.SIGKILL)


def _terminate_as_kill(self: Any) -> None:
    if self._of_target:
        self.terminate()
    else:
        _methods["kill"](self)
