"""One run of one plan, in a process that was forked for it.

Importing this module imports Locust, which patches the process: only the zygote does that.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
import traceback
from _socket import socket as kernel_socket  # the class that gevent does not replace
from pathlib import Path
from signal import SIGTERM
from time import monotonic
from typing import Any, NoReturn

import gevent
from locust.env import Environment

from drainproof.load.engine.book import Book
from drainproof.load.engine.http import READ
from drainproof.load.engine.sink import FileSink, LedgerNotWritten, Sink
from drainproof.load.engine.slow import IdleUser, SlowReaderUser, SlowWriterUser
from drainproof.load.engine.streams import ClosedUser, HoldUser, Load, OnceUser, SteadyUser, StreamUser, rpc, user_class
from drainproof.load.ledger import LedgerSummary, write_line
from drainproof.load.plan import Plan

TICK = 0.02
"""Seconds between two messages about the progress."""

FLUSH_TICKS = 12
"""The ledger is flushed at every so many ticks: four times a second."""

FAILED = 70
"""Exit status after a failure of the engine itself."""

USERS: dict[str, type[StreamUser]] = {
    "steady": SteadyUser,
    "hold": HoldUser,
    "closed": ClosedUser,
    "once": OnceUser,
    "idle": IdleUser,
    "slow_writer": SlowWriterUser,
    "slow_reader": SlowReaderUser,
}


def play(*, line: int, watch: tuple[int, ...]) -> None:
    """Plays the plan that comes over `line` (a socket's descriptor). Returns when it has ended in order.

    `watch`: pidfds of processes whose end is the end of this one, too.
    """
    run = Run(line=Line(descriptor=line))
    hub: Any = gevent.get_hub()
    hub.handle_error = run.on_error
    gevent.signal_handler(SIGTERM, run.die)
    watchers = [hub.loop.io(handle, READ) for handle in watch]
    for watcher in watchers:
        watcher.start(run.die)
    try:
        run.play()
    except Exception as error:
        run.on_error("the run", type(error), error, error.__traceback__)


class Line:
    """The line to the driver: JSON lines in both directions, and its end of file."""

    def __init__(self, *, descriptor: int) -> None:
        self._sock = kernel_socket(fileno=descriptor)
        self._waiting = gevent.socket.socket(fileno=os.dup(descriptor))
        self._received = self._waiting.makefile("rb")
        self._unsent = b""

    def receive(self) -> dict[str, Any] | None:
        """The next message; None at the end of file."""
        line = self._received.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message that may be dropped: a driver that does not read must not stop the load."""
        if not self._unsent:
            self._unsent = json.dumps(message).encode() + b"\n"
        self._send_unsent()

    def _send_unsent(self) -> None:
        try:
            count = self._sock.send(self._unsent, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return
        except OSError:
            count = len(self._unsent)  # the driver is gone, which the reading side finds out
        self._unsent = self._unsent[count:]

    def promise(self, message: dict[str, Any]) -> None:
        """Sends a message that must get there while others follow: what does not fit now leaves with the next one."""
        self._unsent += json.dumps(message).encode() + b"\n"
        self._send_unsent()

    def insist(self, message: dict[str, Any]) -> None:
        """Sends the last message, which must get there."""
        rest, self._unsent = self._unsent, b""
        self._waiting.sendall(rest + json.dumps(message).encode() + b"\n")


class Run:
    """The run's life: plan, start, progress, stop, end."""

    def __init__(self, *, line: Line) -> None:
        self._line = line
        self._sink: Sink | None = None
        self._state = "starting"
        self._worst_stall = 0.0

    def play(self) -> None:
        """From the plan to the end message."""
        begun = monotonic()
        message = self._line.receive()
        if message is None:
            return
        plan = Plan.from_json(message["plan"])
        self._sink = sink = FileSink(path=Path(message["ledger"]))
        environment = Environment()
        self._book = book = Book(sink=sink, events=environment.events, streams=[s.name for s in plan.streams])
        if any(r.protocol == "grpc" for r in plan.requests):
            rpc().initialize()
        self._load = load = Load(plan=plan, book=book, host=socket.gethostbyname(plan.host))
        environment.user_classes = [user_class(stream=s, load=load, users=USERS) for s in plan.streams]
        runner = environment.create_local_runner()
        self._line.say({"event": "hello", "pid": os.getpid()})
        if plan.streams:
            runner.start(len(plan.streams), spawn_rate=len(plan.streams))
        self._change("running")
        ticker = gevent.spawn(self._tick)

        grace = self._wait_for_stop(load)
        load.stop()
        self._change("stopping")
        load.ordinary.join(timeout=grace)
        while load.ordinary or load.lasting:  # again, because an arrival that was just due may only now begin
            gevent.get_hub().loop.run_callback(load.abort)
            gevent.sleep(0.001)
        load.close()
        runner.quit()
        ticker.kill()
        self._change("ended")
        summary = LedgerSummary(
            issued=book.issued,
            recorded=book.recorded,
            aborted=book.aborted,
            locust_requests=environment.stats.total.num_requests,
            started_at=load.start,
            stopped_at=load.stopped_at,
            late_due=book.late_due,
            worst_lag=book.worst_lag,
            cpu_seconds=time.process_time(),
            wall_seconds=monotonic() - begun,
            starved=book.starved,
            worst_stall=self._worst_stall,
            scheduled=book.scheduled,
            routed_elsewhere=book.routed_elsewhere,
            unrouted_at=load.route.closed_at,
        )
        sink.write(write_line(summary))
        sink.close()
        self._line.insist({"event": "end", "summary": vars(summary)})

    def die(self) -> NoReturn:
        """The driver or the zygote is gone: nobody will ask for the rest of this run. Keeps what the ledger has."""
        with contextlib.suppress(LedgerNotWritten):  # a full disk may be what this run dies of
            if self._sink is not None:
                self._sink.flush()
        os._exit(FAILED)

    def on_error(self, context: Any, kind: Any, value: Any, trace: Any) -> None:
        """Takes the place of gevent's error handler: an error that nobody expected must not pass for a result."""
        if isinstance(kind, type) and issubclass(kind, gevent.GreenletExit):
            return
        if isinstance(value, LedgerNotWritten):
            self._line.say({"event": "error", "text": str(value)})
            self.die()
        text = "".join(traceback.format_exception(kind, value, trace))
        os.write(2, text.encode())
        self._line.say({"event": "error", "text": f"{context}: {text}"})
        self.die()

    def _wait_for_stop(self, load: Load) -> float:
        while (message := self._line.receive()) is not None and message["command"] == "unroute":
            self._line.promise({"event": "unrouted", "t": load.route.close()})
        if message is None:
            self.die()
        gevent.spawn(self._wait_for_end)
        return float(message["grace"])

    def _wait_for_end(self) -> None:
        while self._line.receive() is not None:
            pass
        self.die()

    def _change(self, state: str) -> None:
        self._state = state
        self._line.say(self._progress())

    def _progress(self) -> dict[str, Any]:
        return {"event": "progress", "t": monotonic(), "state": self._state, "streams": self._book.progress()}

    def _tick(self) -> None:
        ticks, last = 0, monotonic()
        while True:
            gevent.sleep(TICK)
            now = monotonic()
            self._worst_stall = max(self._worst_stall, now - last - TICK)
            last = now
            self._line.say(self._progress())
            ticks += 1
            if ticks % FLUSH_TICKS == 0 and self._sink is not None:
                self._sink.flush()
