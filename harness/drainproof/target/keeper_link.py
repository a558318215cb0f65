"""The pytest process's end of the line to a keeper: starts it, takes its events, and cleans up where it was killed.

A thread per keeper takes the events, so that nobody has to ask for them; whoever waits for one waits for `changed`.
The moments in them are the keeper's, so it does not matter how late this thread gets the GIL.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import drainproof
from drainproof.errors import CommandNotStarted, HarnessError
from drainproof.target import tree
from drainproof.target.folder import remove_folder
from drainproof.target.instance import ExitStatus

_START = 30.0
"""Seconds that a keeper may take to start the target."""
_END = 12.0
"""Seconds after which a keeper that does not come to its end is killed, and its work done from here."""
_SWEEP = 5.0
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]); from drainproof.target.keeper import main; main(int(sys.argv[2]))"
)


class KeeperLink:
    """One keeper. The fields below `changed` are written by the reader thread alone, while it holds `changed`."""

    def __init__(self, *, name: str, identity: str, tmp: Path) -> None:
        self.name = name
        self._identity = identity
        self._tmp = tmp
        self.keeper_pid = 0
        self.changed = threading.Condition()
        self.pid = 0
        self.pidfd = -1
        self.started = 0.0
        self.exit: ExitStatus | None = None
        self.gone: float | None = None
        self.tail: list[str] | None = None
        self.output_complete = False
        self.ended = False
        self.lost: str | None = None
        """Why nothing more is heard from the keeper, unless that is in order."""
        self.problems: list[str] = []
        self.killed: list[tuple[int, str]] = []
        self._refused: dict[str, Any] | None = None
        self._exit_seen: float | None = None
        self._shared_memory_before = tree.shared_memory_names()
        self._control, self._keeper_end = socket.socketpair()
        self._stderr = os.memfd_create("drainproof-keeper")
        self._keeper: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, name=f"keeper of {name}", daemon=True)
        self._closing = threading.Lock()

    # -- towards the keeper ------------------------------------------------------------------------------------------

    def start(self, config: dict[str, Any]) -> None:
        """Starts the keeper and, through it, the target. Raises CommandNotStarted, or HarnessError where it fails."""
        # -I and -S: nothing from the user's environment, site-packages or folder runs in the keeper, and it starts
        # faster. UTF-8, so that whatever bytes there are in paths and variables get through.
        flags = ["-I", "-S", "-X", "utf8=1", *(["-B"] if sys.dont_write_bytecode else [])]
        root = str(Path(drainproof.__file__).resolve().parent.parent)
        number = self._keeper_end.fileno()
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, *flags, "-c", _BOOTSTRAP, root, str(number)],
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise HarnessError(f"{self.name}: the keeper of the target could not be started: {error}") from error
        self.keeper_pid = self._keeper.pid
        self._keeper_end.close()
        self._reader.start()
        self.tell({"do": "start", "parent": os.getpid(), **config})
        self.wait(lambda: self.pid or self._refused or self.lost, until=monotonic() + _START)
        if self._refused is not None and self._refused["whose"] == "command":
            raise CommandNotStarted(f"{self.name}: the command cannot be started: {self._refused['text']}")
        if not self.pid:
            why = self._refused["text"] if self._refused else self.lost or f"no answer within {_START:.0f} s"
            raise HarnessError(f"{self.name}: the keeper of the target could not start it: {why}")

    def tell(self, message: dict[str, Any]) -> None:
        """Sends a command. A keeper that is gone is not an error here: the reader notices it as well."""
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def wait(self, condition: Callable[[], object], *, until: float) -> None:
        """Waits until the condition holds, or for that moment. Call it without holding `changed`."""
        with self.changed:
            self.changed.wait_for(condition, timeout=min(max(0.0, until - monotonic()), threading.TIMEOUT_MAX))

    def close(self) -> None:
        """Lets the keeper end everything, and waits until it has. Idempotent."""
        with self._closing:
            if self._keeper is not None:
                self.tell({"do": "end"})
                if self._reader.ident is None:  # interrupted between its start and the reader's
                    self._keeper.kill()
                else:
                    self._reader.join(_END)
                    if self._reader.is_alive():
                        self._keeper.kill()  # it was stopped, or hangs: the reader finds the line dead, and sweeps
                        self._reader.join(_END)
                self._keeper.wait()
                self._keeper = None
            self._keeper_end.close()
            self._control.close()
            with self.changed:
                descriptors, self._stderr, self.pidfd = (self._stderr, self.pidfd), -1, -1
            for descriptor in descriptors:
                if descriptor >= 0:
                    os.close(descriptor)

    # -- from the keeper: the reader thread --------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            self._take_events()
        except Exception as error:  # a thread that dies silently would leave everybody waiting
            with self.changed:
                self.lost = f"the line to the keeper of {self.name} failed: {error!r}"
        if not self.ended:
            self._clean_up_for_keeper()
        with self.changed:
            self.changed.notify_all()

    def _take_events(self) -> None:
        received = b""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor != self._control.fileno():
                    # A second witness of the exit. Either can only be late, so the earlier one is right.
                    self._exit_seen = monotonic()
                    poll.unregister(descriptor)
                    continue
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._control, 65536, 1)
                except ConnectionError:
                    return
                if descriptors:
                    self.pidfd = descriptors[0]
                    poll.register(self.pidfd, select.POLLIN)
                if not data:
                    return
                *lines, received = (received + data).split(b"\n")
                with self.changed:
                    for line in lines:
                        self._take(json.loads(line))
                    self.changed.notify_all()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self.started, self.pid = event["t"], event["pid"]
        elif kind == "not_started":
            self._refused = event
        elif kind == "exit":
            seen = event["t"] if self._exit_seen is None else min(event["t"], self._exit_seen)
            self.exit = ExitStatus(time=seen, code=event["code"], signal=event["signal"])
        elif kind == "gone":
            self.gone = event["t"]
        elif kind == "output_complete":
            self.output_complete = True
        elif kind == "tail":
            self.tail = event["lines"]
        elif kind == "problem":
            self.problems.append(event["text"])
        elif kind == "killed":
            self.killed.extend((pid, name) for pid, name in event["killed"])
            if event["left"]:
                self.problems.append(f"processes that SIGKILL did not end: {event['left']}")
        elif kind == "ended":
            self.ended = True

    # -- instead of the keeper ---------------------------------------------------------------------------------------

    def _clean_up_for_keeper(self) -> None:
        """The keeper was killed (by its target, say): ends everybody who was born with the instance's marker.

        The orphans belong to init now, so the tree cannot be walked. A process that has overwritten its environment is
        found only in the main process's session, or as a child of one that is found.
        """
        size = os.fstat(self._stderr).st_size
        said = os.pread(self._stderr, 4000, max(0, size - 4000)).decode("utf-8", "replace").strip()
        segments: set[str] = set()
        give_up = monotonic() + _SWEEP
        while found := self._orphans():
            for stat in found:
                segments |= tree.shared_memory(stat.pid)
            tree.kill_groups(found)
            tree.kill([stat.pid for stat in found], signal.SIGKILL)
            if monotonic() > give_up:
                self.problems.append(f"processes that SIGKILL did not end: {[stat.pid for stat in found]}")
                break
        tree.unlink_segments(segments, but=self._shared_memory_before)
        remove_folder(str(self._tmp))
        with self.changed:
            self.lost = self.lost or f"the keeper of {self.name} was killed, or failed{': ' + said if said else ''}"

    def _orphans(self) -> list[tree.Stat]:
        table = tree.all_processes()
        found = {stat.pid for stat in tree.marked(self._identity)}
        found |= {pid for pid, stat in table.items() if self.pid and stat.session == self.pid}
        for pid in list(found):
            found |= {stat.pid for stat in tree.below(pid, table)}
        found.discard(os.getpid())
        return [table[pid] for pid in found if pid in table and table[pid].alive]
