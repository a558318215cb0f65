"""The zygote: imports Locust once, and forks a warm child for each run.

The import takes a third of a second and more, a fork takes milliseconds; and each run starts from the same clean state,
which one long-lived process with one event loop for all runs would not (sockets, statistics and greenlets of an
earlier run are gone with its process, whatever became of them).

Two things make the fork safe. The zygote has one thread and runs no gevent code itself: everything that it uses is
bound below, before the patching, and goes straight to the kernel (gevent replaces even `os.close`, by one that waits
for the event loop's next turn, which never comes here). And importing Locust leaves an event loop behind, whose epoll
descriptor parent and child would share, so the fork is gevent's own, which gives the child's loop a new one.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import time
from _socket import CMSG_LEN
from _socket import socket as kernel_socket  # the class that gevent does not replace
from os import close, dup2, pidfd_open, waitpid
from select import POLLIN, poll
from signal import SIGKILL, SIGTERM

STDIN = 0

PATIENCE = 2.0
"""Seconds that the children get to write the end of their ledgers when the driver is gone."""


def main() -> None:
    """Serves the driver on stdin: each byte comes with the descriptor of a run's line. Ends with the driver."""
    driver = pidfd_open(os.getppid())
    _raise_descriptor_limit()
    from gevent.os import fork_gevent  # noqa: PLC0415

    from drainproof.load.engine.run import play  # noqa: PLC0415 - this is what patches the process

    # What the imports made is never garbage. Frozen, it is not looked through by the collections of the children, which
    # would also copy its pages one by one.
    gc.collect()
    gc.freeze()

    line = kernel_socket(fileno=STDIN)
    null = os.open(os.devnull, os.O_RDONLY)
    poller = poll()
    poller.register(STDIN, POLLIN)
    poller.register(driver, POLLIN)
    children: dict[int, int] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == driver:
                return _end(children)
            if descriptor == STDIN:
                run = _receive(line)
                if run is None:
                    return _end(children)
                child = fork_gevent()
                if child == 0:
                    line.detach()
                    dup2(null, STDIN)
                    play(line=run, watch=(driver, pidfd_open(os.getppid())))
                    os._exit(0)  # without the exit handlers of what the zygote imported
                close(run)
                handle = pidfd_open(child)
                children[handle] = child
                poller.register(handle, POLLIN)
            else:
                poller.unregister(descriptor)
                _reap(descriptor, children.pop(descriptor))


def _receive(line: kernel_socket) -> int | None:
    """The descriptor of a run's line; None when the driver has closed."""
    data, ancillary, _, _ = line.recvmsg(1, CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
    if not data or not ancillary:
        return None
    return int.from_bytes(ancillary[0][2][:4], sys.byteorder)


def _reap(handle: int, child: int) -> None:
    close(handle)
    _, status = waitpid(child, 0)
    if (code := os.waitstatus_to_exitcode(status)) != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"exited with status {code}"
        print(f"The load engine's process {child} {how}.", file=sys.stderr, flush=True)  # noqa: T201


def _end(children: dict[int, int]) -> None:
    """The driver is gone, or has closed. Asks the children to end; whichever is stuck is killed."""
    poller = poll()
    for handle, child in children.items():
        os.kill(child, SIGTERM)  # not reaped yet, so the number is still this child's
        poller.register(handle, POLLIN)
    deadline = time.monotonic() + PATIENCE
    while children:
        left = deadline - time.monotonic()
        for handle, _ in poller.poll(max(left, 0) * 1000):
            poller.unregister(handle)
            waitpid(children.pop(handle), 0)
        if left <= 0:
            for child in children.values():
                os.kill(child, SIGKILL)
            return


def _raise_descriptor_limit() -> None:
    """Every request in flight holds a descriptor: take all that we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
