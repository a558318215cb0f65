"""Fork and exec of the target, in the keeper. Why not `subprocess`: its import alone takes longer than all of this.

Nothing of the harness is inherited but the limits, the umask and the environment it was given: own session, every
signal at its default (pytest may ignore SIGINT, `nohup` ignores SIGHUP, and both would survive exec), empty signal
mask, stdin from /dev/null, and no descriptor above 2.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping
from time import monotonic
from typing import NamedTuple, NoReturn

from drainproof.target import kernel


class Spawned(NamedTuple):
    """The target's main process and the reading ends of its pipes (non-blocking)."""

    pid: int
    pidfd: int
    started: float
    stdout: int
    stderr: int


class NotStartedError(Exception):
    """The command could not be executed. The argument is the sentence for the user."""


def spawn(*, command: list[bytes], environment: Mapping[bytes, bytes], working_directory: bytes) -> Spawned:
    """Starts the command. Raises NotStartedError where exec, or something before it, fails."""
    stdout, stdout_write = os.pipe()
    stderr, stderr_write = os.pipe()
    failure, failure_write = os.pipe()  # closed by a successful exec, else it says what went wrong
    keeper = os.getpid()
    started = monotonic()
    pid = os.fork()
    if pid == 0:
        _become_target(
            keeper=keeper,
            stdout=stdout_write,
            stderr=stderr_write,
            failure=failure_write,
            command=command,
            environment=environment,
            working_directory=working_directory,
        )
    pidfd = kernel.pidfd_open(pid)
    for descriptor in (stdout_write, stderr_write, failure_write):
        os.close(descriptor)
    said = b""
    while chunk := os.read(failure, 4096):
        said += chunk
    os.close(failure)
    if said:
        os.waitpid(pid, 0)
        for descriptor in (pidfd, stdout, stderr):
            os.close(descriptor)
        raise NotStartedError(said.decode("utf-8", "replace"))
    for descriptor in (stdout, stderr):
        os.set_blocking(descriptor, False)
    return Spawned(pid, pidfd, started, stdout, stderr)


def _become_target(
    *,
    keeper: int,
    stdout: int,
    stderr: int,
    failure: int,
    command: list[bytes],
    environment: Mapping[bytes, bytes],
    working_directory: bytes,
) -> NoReturn:
    said = "it could not be set up"
    try:
        os.setsid()
        # Second line of defence, should the keeper be killed. It holds for the main process alone, is not passed on,
        # and is seen only by a process that asks for its own parent-death signal. One that sets it for itself
        # replaces ours.
        kernel.die_with_parent()
        if os.getppid() != keeper:
            os._exit(1)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
            os.dup2(source, target)
        said = f"the working directory '{os.fsdecode(working_directory)}' cannot be entered"
        os.chdir(working_directory)
        said = f"'{os.fsdecode(command[0])}' cannot be executed"
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        said = _execute(command, environment)
    except OSError as error:
        said += f": {error.strerror}"
    except BaseException as error:
        said += f": {error!r}"
    os.write(failure, said.encode("utf-8", "backslashreplace")[:4096])
    os._exit(127)


def _execute(command: list[bytes], environment: Mapping[bytes, bytes]) -> str:
    """Exec, with the search in the *target's* PATH. Where it fails it returns the sentence that says why."""
    name = command[0]
    path = environment.get(b"PATH", os.defpath.encode())
    candidates = [name] if b"/" in name else [folder + b"/" + name for folder in path.split(b":") if folder]
    telling = f"'{os.fsdecode(name)}' was not found in any folder of its PATH ({os.fsdecode(path)})"
    if b"/" in name:
        telling = f"'{os.fsdecode(name)}' does not exist"
    for candidate in candidates:
        file = os.fsdecode(candidate)
        try:
            os.execve(candidate, command, environment)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                if os.path.exists(candidate):  # noqa: PTH110
                    telling = f"'{file}' exists, but the interpreter that its first line names does not"
            elif error.errno == errno.EACCES:
                telling = f"'{file}' is not executable: chmod +x it, or start it through its interpreter"
            elif error.errno == errno.ENOEXEC:
                telling = f"'{file}' is neither a program nor a script with a '#!' line: name its interpreter"
            else:
                telling = f"'{file}' cannot be executed: {error.strerror}"
    return telling
