"""The keeper: a small process of ours, one per instance, that starts the target and answers for its end.

Why a process of its own. Only a process can adopt orphans (PR_SET_CHILD_SUBREAPER), and the pytest process must not:
users' tests fork too. Whatever becomes of pytest, the kernel closes its end of the control socket, and the keeper then
kills the whole tree. And exits are stamped in a process that does nothing else, so that pytest's GIL cannot delay them.

It is single-threaded (it forks), imports little (its start is part of every launch), and runs in `/`, in a session of
its own (a terminal's Ctrl-C does not reach it), with every signal ignored that can be: a target that signals its
parent process reaches the keeper.

Since every orphan of the tree becomes the keeper's child, "no children left" (ECHILD) is exactly "the tree is gone".

The protocol is JSON lines over a Unix socket.
In: `{"do": "start", …}` once, then `{"do": "tail", "lines": n}`, `{"do": "kill"}`, `{"do": "end"}`.
Out, each with `event`: `started` (with the target's pidfd as ancillary data) or `not_started`, `exit`, `gone`,
`output_complete`, `tail`, `problem`, `killed`, `ended`. A time `t` is CLOCK_MONOTONIC.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic
from typing import Any

from drainproof.hidden import Hidden
from drainproof.target import kernel, tree
from drainproof.target.folder import remove_folder
from drainproof.target.output import OutputLog
from drainproof.target.spawn import NotStartedError, spawn

READ = 64 * 1024
"""A pipe's capacity: what can be read at once."""
WORK = 0.0005
"""Seconds of JSON making between two looks at the exit of the target."""
OPEN_PIPES = 0.3
"""Seconds that a pipe may stay open after the tree is gone: a process outside of it was handed the descriptor."""
FREEZE = 3.0
"""Seconds for stopping a tree before it is killed; only a fork bomb takes more than a few milliseconds."""
KILL = 6.0
"""Seconds after which the keeper gives up on processes that SIGKILL does not end."""
WALL = 0x40000000
"""waitpid's __WALL: also children that do not announce their end by SIGCHLD."""


class Keeper:
    """One instance, from its start to its end."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.received = b""
        self.outgoing = bytearray()
        self.poll = select.epoll()
        self.done = False
        self.main = 0
        self.main_exited = False
        self.gone = True
        self.gone_at = 0.0
        self.pipes: dict[int, str] = {}
        self.output: OutputLog | None = None
        self.problem: str | None = None
        self.config: dict[str, Any] = {}
        self.tmp_created = False
        self.shared_memory_before: set[str] = set()
        self.segments: set[str] = set()
        """Shared memory that was in use when the tree was killed."""
        self.wake, wake_write = os.pipe()
        for descriptor in (self.wake, wake_write):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.parent = kernel.pidfd_open(os.getppid())
        control.setblocking(False)
        for descriptor in (control.fileno(), self.wake, self.parent):
            self.poll.register(descriptor, select.EPOLLIN)

    # -- the loop ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until the parent asks for the end, or is no more."""
        while not self.done:
            ready = {descriptor for descriptor, _ in self.poll.poll(self._timeout())}
            # The order matters: first what carries a time, then the rest, each with a bounded amount of work.
            if self.wake in ready:
                self._empty_wake()
                self._reap()
            for descriptor in list(self.pipes):
                if descriptor in ready:
                    self._read(descriptor)
            if self.parent in ready:
                self.end()
            elif self.control.fileno() in ready:
                self._listen()
            if self.outgoing:
                self._send_out()
            if self.output is not None:
                self.output.work(until=monotonic() + WORK)
                self._tell_problem(self.output.problem)
                if self.gone and (not self.pipes or monotonic() > self.gone_at + OPEN_PIPES):
                    self._finish_output()

    def _timeout(self) -> float | None:
        if self.output is None:
            return 0.05 if self.outgoing else None
        if self.output.pending:
            return 0.0
        moments = [self.output.flush_due] if self.output.flush_due is not None else []
        if self.gone:
            moments.append(self.gone_at + OPEN_PIPES)
        if self.outgoing:
            moments.append(monotonic() + 0.05)
        return max(min(moments) - monotonic(), 0.0) if moments else None

    def _empty_wake(self) -> None:
        try:
            while os.read(self.wake, 4096):
                pass
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        """Takes every child that has ended: the main process, and the orphans of the tree.

        The clock is read after waitpid, so that the moments told are never before the truth.
        """
        while not self.gone:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | WALL)
            except ChildProcessError:
                self.gone, self.gone_at = True, monotonic()
                self._tell({"event": "gone", "t": self.gone_at})
                return
            if pid == 0:
                return
            if pid == self.main and not self.main_exited:
                now = monotonic()
                self.main_exited = True
                code = os.waitstatus_to_exitcode(status)
                how = {"code": code, "signal": None} if code >= 0 else {"code": None, "signal": -code}
                self._tell({"event": "exit", "t": now, **how})

    def _read(self, descriptor: int) -> bool:
        """Reads once. False where nothing more is there, or will come."""
        try:
            data = os.read(descriptor, READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        name = self.pipes[descriptor]
        assert self.output is not None
        if data:
            self.output.feed(name, monotonic(), data)
            return True
        self.poll.unregister(descriptor)
        os.close(descriptor)
        del self.pipes[descriptor]
        self.output.end_stream(name, monotonic())
        return False

    # -- the parent --------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        try:
            data = self.control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["do"] == "start":
                self.start(message)
            elif message["do"] == "tail":
                lines_wanted = self.output.recent(message["lines"]) if self.output is not None else None
                self._tell({"event": "tail", "lines": lines_wanted})
            elif message["do"] == "kill":
                self.kill()
            elif message["do"] == "end":
                self.end()

    def _tell(self, event: dict[str, Any]) -> None:
        self.outgoing += json.dumps(event).encode() + b"\n"
        self._send_out()

    def _send_out(self) -> None:
        """Never blocks: a parent that is stopped, or busy, must not stop the keeper."""
        try:
            sent = self.control.send(self.outgoing)
        except BlockingIOError:
            return
        except OSError:
            sent = len(self.outgoing)  # nobody is there any more
        del self.outgoing[:sent]

    def _tell_problem(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            self.problem = problem
            self._tell({"event": "problem", "text": problem})

    # -- start and end -----------------------------------------------------------------------------------------------

    def start(self, config: dict[str, Any]) -> None:
        """Starts the target as `launch` in process.py describes it."""

        def native(text: str) -> bytes:
            return text.encode("utf-8", "surrogateescape")

        self.config = config
        if os.getppid() != config["parent"]:
            self.end()  # it was gone before we looked at it
            return
        try:
            self._make_tmp()
            self.shared_memory_before = tree.shared_memory_names()
            self.output = OutputLog(
                config["output"],
                streams=("stdout", "stderr"),
                hidden=Hidden(config["hidden"]),
                **config["bounds"],
            )
            spawned = spawn(
                command=[native(part) for part in config["command"]],
                environment={native(name): native(value) for name, value in config["environment"].items()},
                working_directory=native(config["working_directory"]),
            )
        except NotStartedError as error:
            self._not_started(str(error), "command")
            return
        except OSError as error:
            self._not_started(str(error), "harness")
            return
        self.main, self.gone = spawned.pid, False
        self.pipes = {spawned.stdout: "stdout", spawned.stderr: "stderr"}
        for descriptor in self.pipes:
            self.poll.register(descriptor, select.EPOLLIN)
        event = json.dumps({"event": "started", "pid": spawned.pid, "t": spawned.started}).encode() + b"\n"
        with suppress(OSError):  # the parent may be gone: the loop sees it next
            socket.send_fds(self.control, [event], [spawned.pidfd])
        os.close(spawned.pidfd)

    def _make_tmp(self) -> None:
        """Makes the TMPDIR and locks it, before it has its name: that says that it has a keeper (see abandoned.py)."""
        tmp = self.config["tmp"]
        if os.path.exists(tmp) and os.listdir(tmp):  # noqa: PTH110, PTH208
            raise FileExistsError(errno.EEXIST, "the TMPDIR exists, and is not empty", tmp)
        new = tmp + ".new"
        os.mkdir(new, 0o700)  # noqa: PTH102
        try:
            with suppress(OSError):  # a file system without locks: then nobody can take it for abandoned either
                fcntl.flock(os.open(new, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)  # open as long as we live
            os.rename(new, tmp)  # noqa: PTH104 - also takes the place of an empty folder
        except OSError:
            os.rmdir(new)  # noqa: PTH106
            raise
        self.tmp_created = True

    def _not_started(self, text: str, whose: str) -> None:
        self._finish_output()
        self._tell({"event": "not_started", "text": text, "whose": whose})

    def kill(self) -> None:
        """Ends every process of the tree, and sees to it that the output is complete; files are left as they are."""
        if not self.gone:
            survivors = [[stat.pid, stat.name] for stat in self.kill_tree() if stat.alive]
            left = [] if self.gone else [stat.pid for stat in tree.descendants(os.getpid()) if stat.alive]
            self._tell({"event": "killed", "killed": survivors, "left": left})
        deadline = monotonic() + OPEN_PIPES
        while monotonic() < deadline and any(self._read(descriptor) for descriptor in list(self.pipes)):
            pass
        self._finish_output()

    def end(self) -> None:
        """Leaves nothing behind, and ends the keeper."""
        self.done = True
        self.kill()
        tree.unlink_segments(self.segments, but=self.shared_memory_before)
        if self.tmp_created:
            remove_folder(self.config["tmp"])
        self._tell({"event": "ended"})
        self.control.settimeout(1.0)
        self._send_out()

    def _finish_output(self) -> None:
        if self.output is None:
            return
        output, self.output = self.output, None
        for descriptor in list(self.pipes):  # held open by somebody outside of the tree
            self.poll.unregister(descriptor)
            os.close(descriptor)
        self.pipes = {}
        output.finish(monotonic())
        self._tell_problem(output.problem)
        self._tell({"event": "output_complete"})

    def kill_tree(self) -> list[tree.Stat]:
        """SIGKILL until nobody is left; returns who was there.

        Real-time priority, where root may take it, made short work of fork bombs too, but lost: waitpid can wait in the
        kernel for the last steps of a dying thread, which such a keeper does not let run, for up to a second.
        """
        me = os.getpid()
        frozen = tree.freeze(me, until=monotonic() + FREEZE)
        enough = monotonic() + 0.3
        for stat in frozen:
            self.segments |= tree.shared_memory(stat.pid)
            if monotonic() > enough:
                break
        tree.kill_groups(frozen)
        tree.kill([stat.pid for stat in frozen], signal.SIGKILL)
        give_up = monotonic() + KILL
        while not self.gone and monotonic() < give_up:
            self._reap()
            if not self.gone:
                tree.signal_below(me, signal.SIGKILL)
                select.select([self.wake], [], [], 0.002)
                self._empty_wake()
        return frozen


def main(control: int) -> None:
    """The keeper's process. `control` is the inherited descriptor of the control socket."""
    gc.disable()  # nothing here makes cycles, and a collection in the wrong moment would delay a time stamp
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for signum in signal.valid_signals() - {
        signal.SIGKILL,
        signal.SIGSTOP,
        signal.SIGCHLD,
        signal.SIGSEGV,
        signal.SIGABRT,
    }:
        signal.signal(signum, signal.SIG_IGN)
    kernel.become_subreaper()
    kernel.set_name("drainproof-keep")
    connection = socket.socket(fileno=control)
    connection.set_inheritable(False)
    keeper = Keeper(connection)
    try:
        keeper.run()
    except BaseException:
        # A mistake of ours. The parent learns of it by the end of the connection, and shows what stands in stderr.
        # Still nothing may be left, and the end of the target must not be told as if it were the target's doing.
        sys.excepthook(*sys.exc_info())
        connection.close()
        keeper.kill_tree()
