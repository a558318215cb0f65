"""The server process, and its graceful way to go.

What happens on a stop signal, in this order:

1. The handler runs between two bytecodes and sets flags, nothing else. From this moment readiness is negative and every
   answer carries `Connection: close`, so that clients leave their connections of their own accord.
2. Lame duck: for a short while everything is served as before, new connections too, until the clients have noticed.
3. The listeners of all protocols close; what waited in their queues is served. gRPC clients are told to go (GOAWAY).
4. Requests in progress are finished, those of all protocols in the same time. Idle and silent connections are closed
   when they have been quiet for a while.
5. What is unfinished at the drain's bound is cut, with the protocol's own end where it has one: 503 where no answer had
   begun, UNAVAILABLE.
6. The protocols are stopped, the loop closes, and the process ends with 0, or with 1 where an error was the reason.

What happens on an error:

* in a request: it fails alone (`application.py`, `grpc_service.py`).
* in something that nobody waits for, a callback or a task: it is logged.
* in a part that serving depends on (a protocol, the model's engine) or in the main coroutine: the same as on a stop
  signal, and the status is 1. Half a server is worse than none.
* in the shutdown itself: it is begun anew, because each of its steps can be repeated; what cannot be stopped in order
  is let go of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import FrameType
from typing import Any, Protocol

from model_server.application import Application
from model_server.http_service import HttpService
from model_server.platforms import STOP_SIGNALS, ignore_stop_signals, let_stop_signals_in, say_what_stops_it
from model_server.settings import Settings

ALL_UP, STOP = b"r", b"s"
"""What the supervisor says to a worker."""

ORPHAN_BOUND = 1.0
"""The drain's bound where the supervisor has died: nobody waits for this worker any more."""

TICK = 0.1
"""Seconds between two looks at the flags."""

ATTEMPTS = 3
"""How often the shutdown is begun."""

log = logging.getLogger("model_server")


class Service(Protocol):
    """One protocol. Everything that belongs to going down can be called again."""

    name: str

    async def start(self) -> None: ...
    def open(self) -> None: ...
    async def serve(self) -> None: ...
    async def close_listener(self) -> None: ...
    def work_left(self) -> bool: ...
    async def cut(self) -> None: ...
    async def stop(self) -> None: ...
    def abandon(self) -> None: ...


class Server:
    """One serving process: the whole server, or one worker of several."""

    def __init__(
        self, *, settings: Settings, application: Application, http: HttpService, others: Sequence[Service] = ()
    ) -> None:
        self.settings = settings
        self.application = application
        self.http = http
        self.services: list[Service] = [http, *others]
        self.parts: dict[str, asyncio.Task[None]] = {}
        """What serving depends on, by name."""
        self.failures: dict[str, BaseException] = {}
        """What has failed."""
        self.should_exit = False
        self.releasing = False
        self.drain_began = 0.0
        self.bound = 0.0
        self.reason = ""

    def run(self) -> None:
        """Serves until it is told to stop."""
        asyncio.run(self.serve())

    async def serve(self) -> None:
        """The main coroutine: up, and down again whatever happens."""
        asyncio.get_running_loop().set_exception_handler(self.on_loop_error)
        with self.capture_signals():
            try:
                await self.startup()
                await self.until_told()
            except BaseException as error:
                self.fail("the main coroutine", error)
            await self.go_down()

    # ---- Coming up

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals set flags from here to the end. Before, their default action applies: there is nothing to drain yet.

        At the end they are ignored rather than restored: a late second signal must not turn an orderly exit into a
        death by signal or a KeyboardInterrupt in the interpreter's last milliseconds.
        """
        for signum in STOP_SIGNALS:
            signal.signal(signum, self.handle_exit)
        let_stop_signals_in()
        say_what_stops_it()
        try:
            yield
        finally:
            ignore_stop_signals()

    async def startup(self) -> None:
        """Starts all parts, and opens the listeners unless a stop signal came first."""
        self.supervise("the model", self.application.model.engine)
        for service in self.services:
            await service.start()
            self.supervise(service.name, service.serve)
        if self.should_exit:
            return
        await self.open_listener()
        self.report_up()
        log.info("serving on %s", ", ".join(service.name for service in self.services))

    async def open_listener(self) -> None:
        """From here on clients can connect, with every protocol. Raises OSError."""
        for service in self.services:
            service.open()

    def supervise(self, name: str, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs something that has to run for as long as the server does."""
        self.parts[name] = asyncio.get_running_loop().create_task(self.watch(name, part))

    async def watch(self, name: str, part: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Its end, of whatever kind, is the end of the server. No exception may leave this task: SystemExit and
        KeyboardInterrupt would stop the event loop where it stands."""
        try:
            await part()
            raise RuntimeError(f"{name} has ended")
        except BaseException as error:
            if not self.releasing:
                self.fail(name, error)

    def report_up(self) -> None:
        """Alone, this process is ready as soon as it listens; one of several, when the supervisor says that all do."""
        if self.settings.channel_fd is None:
            self.application.ready = True
            return
        self.channel = socket.socket(fileno=self.settings.channel_fd)
        self.channel.setblocking(False)
        asyncio.get_running_loop().add_reader(self.channel.fileno(), self.hear_supervisor)
        self.tell_supervisor()

    def tell_supervisor(self) -> None:
        """The first byte says that this worker listens, the second that it drains."""
        if self.settings.channel_fd is not None:
            with contextlib.suppress(ConnectionError):  # it is gone: this is about to be heard
                self.channel.send(b".")

    def hear_supervisor(self) -> None:
        """All workers are up; or stop; or, by the end of the line, the supervisor is gone, and this worker goes too."""
        try:
            heard = self.channel.recv(1)
        except ConnectionError:
            heard = b""
        if heard == STOP:
            self.begin_drain("the supervisor says so")
            return
        if heard:
            self.application.ready = True
            return
        asyncio.get_running_loop().remove_reader(self.channel.fileno())
        self.begin_drain("the supervisor is gone")
        self.bound = min(self.bound, time.monotonic() + ORPHAN_BOUND)

    async def until_told(self) -> None:
        """Serves."""
        while not self.should_exit:
            await asyncio.sleep(TICK)

    # ---- Errors

    def fail(self, name: str, error: BaseException) -> None:
        """Something that serving depends on has failed: the server goes down, with a status that says so."""
        self.failures.setdefault(name, error)
        log.error("%s failed: %r", name, error, exc_info=error)
        self.begin_drain(f"{name} failed")

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody waits for has failed. Nothing that serving depends on is among it."""
        source = context.get("handle") or context.get("future") or context["message"]
        log.error("an error that nobody waits for: %s", source, exc_info=context.get("exception"))

    # ---- Going down

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.begin_drain(signal.Signals(sig).name)

    def begin_drain(self, reason: str) -> None:
        """Says to everybody that this server is going. A second call changes nothing."""
        if self.should_exit:
            return
        self.drain_began = time.monotonic()
        self.bound = self.drain_began + self.settings.drain_bound
        self.reason = reason
        self.application.draining = True
        self.should_exit = True

    async def go_down(self) -> None:
        """Shuts down, also where the shutdown itself fails."""
        for _ in range(ATTEMPTS):
            try:
                await self.shutdown()
                return
            except BaseException as error:
                self.fail("the shutdown", error)
        for service in self.services:
            with contextlib.suppress(Exception):
                service.abandon()

    async def shutdown(self) -> None:
        """Steps 2 to 6 of the order above."""
        log.info("draining (%s)", self.reason)
        self.tell_supervisor()
        await self.lame_duck()
        for service in self.services:
            await service.close_listener()
        if not await self.finish_requests():
            await self.cut_the_rest()
        await self.stop_services()
        log.info("drained in %.2f s", time.monotonic() - self.drain_began)

    async def lame_duck(self) -> None:
        """Serves on while the news spreads; only where there was somebody to whom it was ready."""
        if self.application.ready:
            await asyncio.sleep(self.drain_began + self.settings.lame_duck - time.monotonic())

    async def finish_requests(self) -> bool:
        """Waits until nobody is left to wait for, in any protocol. False where the drain's bound came first."""
        while sum(service.work_left() for service in self.services):  # all of them: each closes who is idle
            if time.monotonic() >= self.bound:
                return False
            await asyncio.sleep(0.01)
        return True

    async def cut_the_rest(self) -> None:
        """At the bound, in all protocols at once."""
        log.warning("cutting what is unfinished at the drain's bound")
        await asyncio.gather(*(service.cut() for service in self.services))

    async def stop_services(self) -> None:
        """Stops the protocols, and what they depend on."""
        self.releasing = True
        for service in self.services:
            await service.stop()
        for part in self.parts.values():
            part.cancel()
        await asyncio.gather(*self.parts.values(), return_exceptions=True)
