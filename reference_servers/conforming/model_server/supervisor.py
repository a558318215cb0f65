"""Several workers: one process that starts them, passes stop signals on, and leaves no one behind.

Which way, and which lost:
* Workers are new interpreters (`subprocess`), not forks, and no `multiprocessing`: no start method to conflict with, no
  resource tracker that outlives everybody, no semaphores.
* They share one listening socket for each protocol. With a socket each (SO_REUSEPORT) every worker has its own accept
  queue, and what waits in the queue of the first that closes is lost while the others could serve it.
* The supervisor keeps its own copies of them for the workers to come, and closes them as soon as everything is to stop.
  Kept open, they would go on completing connections after the last worker has stopped accepting, only to reset them.
* Each worker has a line (a socket pair) to the supervisor. Its end tells either side that the other is gone, however
  it went, SIGKILL included.
* A worker that dies is replaced (`restarts.py`), and while none is up the supervisor answers for them (`reception.py`).
  A failure that does not heal ends the whole server, in order and non-zero: the orchestrator is to know. So does a
  worker that says that it goes, because something in it has failed, and one that never came up at the first start.
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
from typing import Any

from model_server.listener import Listener
from model_server.platforms import (
    ON_WINDOWS,
    STATUS_CONTROL_C_EXIT,
    STOP_SIGNALS,
    ignore_stop_signals,
    let_stop_signals_in,
    start,
)
from model_server.reception import Reception
from model_server.restarts import Slot
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
    slot: Slot
    up: bool = False


class Supervisor:
    """Runs `settings.workers` copies of this very command as workers."""

    def __init__(self, *, settings: Settings, listeners: Sequence[Listener]) -> None:
        self.settings = settings
        self.listeners = listeners
        self.workers: list[Worker] = []
        self.slots: list[Slot] = []
        self.complete = False
        """All workers have been up at the same time."""
        self.stopping = False
        self.failed = False
        self.receiving = False
        self.reception = Reception(describe=self.describe)

    def run(self) -> int:
        """Starts the workers, waits until they have all gone, and returns the exit status."""
        self.selector = selectors.DefaultSelector()
        self.handle_signals()
        self.start_workers()
        stopping_since: float | None = None
        while self.workers or not (self.stopping or self.failed):
            if stopping_since is None and self.stopping:
                stopping_since = time.monotonic()
                self.stop_workers()
            if stopping_since and time.monotonic() > stopping_since + self.settings.drain_bound + KILL_AFTER:
                self.kill_workers()
            self.restart_those_due()
            self.receive_where_nobody_else_does()
            for key, _ in self.selector.select(timeout=self.pause()):
                if isinstance(key.data, Listener):
                    self.reception.take(key.data.sock)
                elif key.data is None:
                    self.wakeup.recv(4096)
                else:
                    self.hear(key.data)
        self.let_go()
        self.reception.close()
        ignore_stop_signals()
        return 1 if self.failed else 0

    def pause(self) -> float:
        """Seconds until something is due, or is to be looked at again."""
        due = [slot.due for slot in self.slots if slot.due is not None]
        return max(0.0, min([0.5, *(moment - time.monotonic() for moment in due)]))

    def describe(self) -> dict[str, Any]:
        """What this server does about workers that die, and how they are."""
        states = [
            {"failures": slot.failures, "up": slot.up_since is not None, "restarting": slot.due is not None}
            for slot in self.slots
        ]
        return {"restart": self.settings.restarts.describe(), "workers": states}

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
        """Starts them all (fewer, where a stop signal comes in between)."""
        for _ in range(self.settings.workers):
            if not self.stopping:
                self.slots.append(Slot())
                self.start_worker(self.slots[-1])

    def start_worker(self, slot: Slot) -> None:
        """One more worker: this command again, with the listening sockets and its end of the line."""
        slot.fill()
        ours, theirs = socket.socketpair()
        names = ["--channel-fd", "--listener-fd", "--grpc-listener-fd"]
        sockets = [theirs, *(listener.sock for listener in self.listeners)]
        fds = [text for name, sock in zip(names, sockets, strict=False) for text in (name, str(sock.fileno()))]
        worker = Worker(
            process=start([sys.executable, *sys.orig_argv[1:], *fds], sockets=sockets), channel=ours, slot=slot
        )
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
            worker.slot.up_since = time.monotonic()
            self.complete = self.complete or [w.up for w in self.workers] == [True] * self.settings.workers
            if self.complete:
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
        """A worker ended: as it should, or to be replaced, or as a reason to stop everything.

        One that is stopped while it starts may end in any way; Python's own start-up knows no graceful one.
        """
        if self.complete and not self.stopping:
            self.replace(worker.slot, status)
            return
        if status not in ORDERLY and (worker.up or not self.stopping):
            log.error("a worker ended with status %d, stopping", status)
            self.failed = True
        self.stopping = True

    def replace(self, slot: Slot, status: int) -> None:
        """Has another worker started in the place of one that has died, or gives up."""
        slot.fail()
        delay = self.delay(slot, status)
        if delay is None:
            log.error("a worker ended with status %d, the last of %d attempts, stopping", status, slot.failures)
            self.failed = self.stopping = True
            return
        log.error("a worker ended with status %d, starting another one in %.1f s", status, delay)
        slot.due = time.monotonic() + delay

    def delay(self, slot: Slot, status: int) -> float | None:
        """Seconds to the next attempt; None where there shall be none."""
        return self.settings.restarts.delay(slot.failures)

    def restart_those_due(self) -> None:
        """Starts the workers whose time has come."""
        for slot in self.slots:
            if slot.due is not None and time.monotonic() >= slot.due and not self.stopping:
                self.start_worker(slot)

    def receive_where_nobody_else_does(self) -> None:
        """Takes the connections itself while no worker is up, and leaves them to the workers otherwise."""
        wanted = self.complete and not self.stopping and not any(worker.up for worker in self.workers)
        if wanted == self.receiving:
            return
        self.receiving = wanted
        for listener in self.listeners:
            if wanted:
                listener.sock.setblocking(False)
                self.selector.register(listener.sock, selectors.EVENT_READ, listener)
            else:
                self.selector.unregister(listener.sock)

    def let_go(self) -> None:
        """Of the listening sockets, when everything stops. Where nobody serves any more, who waits gets an answer."""
        self.receive_where_nobody_else_does()
        for listener in self.listeners:
            if self.complete and not self.workers and listener.sock.fileno() >= 0:
                listener.sock.setblocking(False)
                self.reception.take(listener.sock)
            listener.sock.close()

    def stop_workers(self) -> None:
        """Passes the stop on; where the whole group was signalled, this is the worker's second signal."""
        self.let_go()
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
