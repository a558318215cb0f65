"""Several workers: one process that starts them, passes stop signals on, and leaves no one behind.

Which way, and which lost:
* Workers are new interpreters (`subprocess`), not forks, and no `multiprocessing`: no start method to conflict with, no
  resource tracker that outlives everybody, no semaphores.
* They share one listening socket for each protocol. With a socket each (SO_REUSEPORT) every worker has its own accept
  queue, and what waits in the queue of the first that closes is lost while the others could serve it.
* The supervisor closes its own copies of them as soon as the workers have theirs. Kept open, they would go on
  completing connections after the last worker has stopped accepting, only to reset them at the end.
* Each worker has a line (a socket pair) to the supervisor. Its end tells either side that the other is gone, however
  it went, SIGKILL included.
* A worker that ends unasked ends the whole server, in order and non-zero; restarting is the orchestrator's work.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from model_server.listener import Listener
from model_server.platforms import (
    ON_WINDOWS,
    STATUS_CONTROL_C_EXIT,
    STOP_SIGNALS,
    ignore_stop_signals,
    let_stop_signals_in,
    start,
)
from model_server.server import ALL_UP, STOP
from model_server.settings import Settings

KILL_AFTER = 1.0
"""Seconds beyond the drain's bound after which a worker that is still there is killed."""

ORDERLY = (0, STATUS_CONTROL_C_EXIT, *(-signum for signum in STOP_SIGNALS))
"""How a worker may end that was told to stop; by the signal itself where it was still starting."""

log = logging.getLogger("model_server")


@dataclass(kw_only=True, eq=False)
class Worker:
    """One serving process, seen from the supervisor."""

    process: subprocess.Popen[bytes]
    channel: socket.socket
    up: bool = False


class Supervisor:
    """Runs `settings.workers` copies of this very command as workers."""

    def __init__(self, *, settings: Settings, listeners: Sequence[Listener]) -> None:
        self.settings = settings
        self.listeners = listeners
        self.workers: list[Worker] = []
        self.stopping = False
        self.failed = False

    def run(self) -> int:
        """Starts the workers, waits until they have all gone, and returns the exit status."""
        self.selector = selectors.DefaultSelector()
        self.handle_signals()
        self.start_workers()
        stopping_since: float | None = None
        while self.workers:
            if stopping_since is None and self.stopping:
                stopping_since = time.monotonic()
                self.stop_workers()
            if stopping_since and time.monotonic() > stopping_since + self.settings.drain_bound + KILL_AFTER:
                self.kill_workers()
            for key, _ in self.selector.select(timeout=0.5):
                if key.data is None:
                    self.wakeup.recv(4096)
                else:
                    self.hear(key.data)
        ignore_stop_signals()
        return 1 if self.failed else 0

    def handle_signals(self) -> None:
        """Installed before the first worker starts: from then on the default action would leave workers behind."""
        self.wakeup, writer = socket.socketpair()
        self.wakeup.setblocking(False)
        writer.setblocking(False)
        self.wakeup_writer = writer
        self.selector.register(self.wakeup, selectors.EVENT_READ, None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for signum in STOP_SIGNALS:
            signal.signal(signum, self.on_signal)
        let_stop_signals_in()

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        """The signal handler; a second signal changes nothing."""
        self.stopping = True

    def start_workers(self) -> None:
        """Starts them all (fewer, where a stop signal comes in between), and lets go of the listening sockets."""
        for _ in range(self.settings.workers):
            if not self.stopping:
                self.start_worker()
        for listener in self.listeners:
            listener.sock.close()

    def start_worker(self) -> None:
        """One more worker: this command again, with the listening sockets and its end of the line."""
        ours, theirs = socket.socketpair()
        names = ["--channel-fd", "--listener-fd", "--grpc-listener-fd"]
        sockets = [theirs, *(listener.sock for listener in self.listeners)]
        fds = [text for name, sock in zip(names, sockets, strict=False) for text in (name, str(sock.fileno()))]
        worker = Worker(process=start([sys.executable, *sys.orig_argv[1:], *fds], sockets=sockets), channel=ours)
        theirs.close()
        self.workers.append(worker)
        self.selector.register(ours, selectors.EVENT_READ, worker)

    def hear(self, worker: Worker) -> None:
        """A worker's first byte: it listens. The second: it drains, so all do. The end of its line: it has ended."""
        try:
            data = worker.channel.recv(1)
        except ConnectionError:
            data = b""
        if data and worker.up:
            self.stopping = True
            return
        if data:
            worker.up = True
            if len(self.workers) == self.settings.workers and all(w.up for w in self.workers):
                self.announce_ready()
            return
        self.selector.unregister(worker.channel)
        worker.channel.close()
        self.workers.remove(worker)
        self.judge_end(worker, worker.process.wait())

    def announce_ready(self) -> None:
        """Tells the workers that they are complete: from here on they say that they are ready."""
        for worker in self.workers:
            with contextlib.suppress(ConnectionError):  # it has just ended, which is about to be heard
                worker.channel.send(ALL_UP)

    def judge_end(self, worker: Worker, status: int) -> None:
        """A worker ended: as it should, or as a reason to stop everything.

        One that is stopped while it starts may end in any way; Python's own start-up knows no graceful one.
        """
        if status not in ORDERLY and (worker.up or not self.stopping):
            log.error("a worker ended with status %d, stopping", status)
            self.failed = True
        self.stopping = True

    def stop_workers(self) -> None:
        """Passes the stop on; where the whole group was signalled, this is the worker's second signal."""
        for worker in self.workers:
            if not ON_WINDOWS:
                worker.process.terminate()
                continue
            with contextlib.suppress(ConnectionError):  # it has just ended, which is about to be heard
                worker.channel.send(STOP)

    def kill_workers(self) -> None:
        """The last resort against a worker that hangs."""
        self.failed = True
        for worker in self.workers:
            worker.process.kill()
