"""The process launcher: starts a target through its keeper, and says what the keeper sees.

`keeper.py` explains why there is a keeper; this is the side of it that lives in the pytest process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import psutil

import drainproof
from drainproof.errors import CommandNotStarted, HarnessError
from drainproof.probes import sockets
from drainproof.target import kernel, tree
from drainproof.target.description import Target
from drainproof.target.instance import ExitStatus, Instance
from drainproof.target.keeper import remove_folder
from drainproof.target.main_kind import MainKind, kind_of_main
from drainproof.target.output_tail import last_lines, printable

LITERALS = (
    "Event loop is closed",
    "was never awaited",
    "Task was destroyed",
    "Exception ignored in",
    "never retrieved",
    "Traceback (most recent call last)",
)
"""Lines with one of these are kept even where a flood of output has to be cut down."""

NOT_INHERITED = ("PYTEST_", "COVERAGE_", "COV_CORE_", "LISTEN_", "WATCHDOG_")
"""Prefixes of variables of the harness's own environment that are no business of the target."""

_START = 30.0
_END = 12.0
_BOOTSTRAP = (
    "import sys; sys.path.append(sys.argv[1]); from drainproof.target.keeper import main; main(int(sys.argv[2]))"
)


def fresh_tmp() -> Path:
    """A name for the TMPDIR of an instance. It is short, since Unix sockets in it have 107 bytes for their path."""
    return Path(tempfile.gettempdir()) / f"dp-{uuid.uuid4().hex[:12]}"


def target_environment(declared: Mapping[str, str], *, tmp: Path, instance: str) -> dict[str, str]:
    """The environment of a target: ours, without pytest's and coverage's variables, then TMPDIR, then what is declared.

    A server started under coverage or with PYTEST_CURRENT_TEST set is not the server that runs in production, and a
    NOTIFY_SOCKET would let it report to our service manager. Whoever wants one of them declares it. Everything else is
    inherited: PATH, PYTHONPATH, virtual environment, proxies, and credentials that a model download may need.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(NOT_INHERITED) and name != "NOTIFY_SOCKET"
    }
    return {**inherited, "TMPDIR": str(tmp), **declared, tree.MARKER: instance}


class ProcessInstance:
    """One running target. See `Instance` for what its methods promise; all of them may be called from any thread.

    Those that ask for the state of the target raise HarnessError where its keeper was killed, since nothing is known
    then.
    """

    def __init__(self, *, name: str, ports: Mapping[str, int], host: str, tmp: Path, output: Path) -> None:
        self.name = name
        self.ports: Mapping[str, int] = MappingProxyType(dict(ports))
        self.host = host
        self.tmp = tmp
        self.output = output
        self.identity = uuid.uuid4().hex
        self.pid = 0
        self.started = 0.0
        self.problems: list[str] = []
        """What went wrong in the keeper without stopping it (a full disk)."""
        self.killed: list[tuple[int, str]] = []
        """Pid and name of every process that was alive when `end` came."""
        self._changed = threading.Condition()
        self._exit: ExitStatus | None = None
        self._exit_seen: float | None = None
        self._gone: float | None = None
        self._tail: list[str] | None = None
        self._tail_lock = threading.Lock()
        self._refused: dict[str, Any] | None = None
        self._output_complete = False
        self._ended = False
        self._lost: str | None = None
        self._ending = threading.Lock()
        self._shared_memory_before = tree.shared_memory_names()
        self._pidfd = -1
        self._control, self._keeper_end = socket.socketpair()
        self._keeper_said = os.memfd_create("drainproof-keeper")
        self._keeper: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, name=f"keeper of {name}", daemon=True)

    @property
    def group(self) -> int:
        """The process group of the main process: its own, since it leads a session."""
        return self.pid

    # -- start -------------------------------------------------------------------------------------------------------

    def _launch(self, command: Sequence[str], environment: Mapping[str, str], working_directory: Path) -> None:
        # -I and -S: nothing in the user's environment, site-packages or folder runs in the keeper, and it starts
        # faster. UTF-8, so that whatever bytes there are in paths and variables get through.
        flags = ["-I", "-S", "-X", "utf8=1", *(["-B"] if sys.dont_write_bytecode else [])]
        root = str(Path(drainproof.__file__).resolve().parent.parent)
        number = self._keeper_end.fileno()
        self._keeper = subprocess.Popen(
            [sys.executable, *flags, "-c", _BOOTSTRAP, root, str(number)],
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._keeper_said,
            cwd="/",
            start_new_session=True,
        )
        self._keeper_end.close()
        self._reader.start()
        self._say(
            {
                "do": "start",
                "parent": os.getpid(),
                "command": [_text(part) for part in command],
                "environment": {_text(name): _text(value) for name, value in environment.items()},
                "working_directory": _text(str(working_directory)),
                "output": str(self.output.absolute()),
                "tmp": str(self.tmp),
                "bounds": {"literals": LITERALS},
            }
        )
        with self._changed:
            self._changed.wait_for(lambda: self.pid or self._refused or self._lost, timeout=_START)
        if self._refused is not None and self._refused["whose"] == "command":
            raise CommandNotStarted(f"{self.name}: the command cannot be started: {self._refused['text']}")
        if not self.pid:
            why = self._refused["text"] if self._refused else self._lost or f"no answer within {_START:.0f} s"
            raise HarnessError(f"{self.name}: the keeper of the target could not start it: {why}")

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return  # the reader notices as well, and knows what to do about it

    # -- what the keeper tells ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        """The reader thread: takes events until the keeper is gone."""
        received = b""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._pidfd:
                    # A second witness of the exit: each can only be late, so the earlier one is right.
                    self._exit_seen = monotonic()
                    poll.unregister(descriptor)
                    continue
                try:
                    data, descriptors, _, _ = socket.recv_fds(self._control, 65536, 1)
                except OSError:
                    data, descriptors = b"", []
                if descriptors:
                    self._pidfd = descriptors[0]
                    poll.register(self._pidfd, select.POLLIN)
                if not data:
                    self._keeper_is_gone()
                    return
                *lines, received = (received + data).split(b"\n")
                for line in lines:
                    with self._changed:
                        self._take(json.loads(line))
                        self._changed.notify_all()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "started":
            self.started, self.pid = event["t"], event["pid"]
        elif kind == "not_started":
            self._refused = event
        elif kind == "exit":
            seen = event["t"] if self._exit_seen is None else min(event["t"], self._exit_seen)
            self._exit = ExitStatus(time=seen, code=event["code"], signal=event["signal"])
        elif kind == "gone":
            self._gone = event["t"]
        elif kind == "output_complete":
            self._output_complete = True
        elif kind == "tail":
            self._tail = event["lines"]
        elif kind == "problem":
            self.problems.append(event["text"])
        elif kind == "ended":
            self.killed = [(pid, name) for pid, name in event["killed"]]
            if event["left"]:
                self.problems.append(f"processes that SIGKILL did not end: {event['left']}")
            self._ended = True

    def _keeper_is_gone(self) -> None:
        """The keeper's end of the socket is closed: in order, or because it was killed (then we clean up)."""
        if not self._ended:
            size = os.fstat(self._keeper_said).st_size
            said = os.pread(self._keeper_said, 4000, max(0, size - 4000)).decode("utf-8", "replace").strip()
            self._sweep()
            with self._changed:
                self._lost = f"the keeper of {self.name} was killed, or failed{': ' + said if said else ''}"
        with self._changed:
            self._changed.notify_all()

    def _sweep(self) -> None:
        """Ends what a killed keeper left: everybody born with our marker, or in the main process's session."""
        deadline = monotonic() + 5.0
        segments: set[str] = set()
        while found := self._marked():
            for stat in found:
                segments |= tree.shared_memory(stat.pid)
            tree.kill_groups(found)
            tree.kill([stat.pid for stat in found], signal.SIGKILL)
            if monotonic() > deadline:
                self.problems.append(f"processes that SIGKILL did not end: {[stat.pid for stat in found]}")
                break
        for path in segments:
            if tree.segment_name(path) not in self._shared_memory_before:
                Path(path).unlink(missing_ok=True)
        remove_folder(str(self.tmp))

    def _marked(self) -> list[tree.Stat]:
        found = {stat.pid: stat for stat in tree.marked(self.identity)}
        if self.pid:
            table = tree.all_processes()
            found.update({pid: stat for pid, stat in table.items() if stat.session == self.pid and stat.alive})
        found.pop(os.getpid(), None)
        return list(found.values())

    def _require_keeper(self) -> None:
        if self._lost is not None:
            raise HarnessError(
                f"{self._lost}. Nothing is known of the target from then on, and its processes were ended."
            )

    # -- the interface -----------------------------------------------------------------------------------------------

    def exit_status(self) -> ExitStatus | None:
        """How the main process ended; None while it runs. Never blocks."""
        with self._changed:
            if self._exit is None:
                self._require_keeper()
            return self._exit

    def wait_exit(self, *, until: float) -> ExitStatus | None:
        """Waits for the end of the main process, no longer than until that moment."""
        with self._changed:
            self._changed.wait_for(lambda: self._exit or self._lost, timeout=max(0.0, until - monotonic()))
            if self._exit is None:
                self._require_keeper()
            return self._exit

    def wait_gone(self, *, until: float) -> float | None:
        """Waits for the end of the last process of the tree; returns when that was, or None if it is not yet."""
        with self._changed:
            self._changed.wait_for(lambda: self._gone is not None or self._lost, timeout=max(0.0, until - monotonic()))
            if self._gone is None:
                self._require_keeper()
            return self._gone

    def wait_output(self, *, until: float) -> bool:
        """Waits until all output is in the file, which is shortly after the tree is gone."""
        with self._changed:
            self._changed.wait_for(lambda: self._output_complete or self._lost, timeout=max(0.0, until - monotonic()))
            return self._output_complete

    def processes(self) -> list[psutil.Process]:
        """The living tree, main process first if it lives, also those that left group and session; no zombies."""
        with self._changed:
            if self._gone is not None or self._ended:
                return []
            self._require_keeper()
        assert self._keeper is not None
        found = []
        for stat in tree.descendants(self._keeper.pid):
            if stat.alive:
                try:
                    found.append(psutil.Process(stat.pid))
                except psutil.NoSuchProcess:
                    continue
        return sorted(found, key=lambda process: process.pid != self.pid)

    def send(self, signum: int) -> None:
        """Sends a signal to the main process. Raises ProcessLookupError where it has ended."""
        kernel.pidfd_send_signal(self._pidfd, signum)

    def send_group(self, signum: int) -> None:
        """Sends a signal to the main process's group. Raises ProcessLookupError where nobody is left in it."""
        if self._exit is not None and not any(s.group == self.pid and s.alive for s in self._stats()):
            raise ProcessLookupError(
                f"nobody is left in process group {self.pid}"
            )  # the number may be another's by now
        os.killpg(self.pid, signum)

    def _stats(self) -> list[tree.Stat]:
        assert self._keeper is not None
        return tree.descendants(self._keeper.pid) if self._gone is None else []

    def kind_of_main(self) -> MainKind:
        """Whether the main process is the server, a shell or a wrapper, with a sentence that says so."""
        processes = self.processes()
        inodes = (
            [listener.inode for listener in sockets.listeners(ports=set(self.ports.values()))] if self.ports else []
        )
        owners = sockets.owners(inodes=inodes, pids=[process.pid for process in processes])
        return kind_of_main(main=self.pid, processes=processes, listeners=set().union(*owners.values()))

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, made fit for a terminal."""
        with self._tail_lock:  # one question at a time
            with self._changed:
                if not (self._output_complete or self._ended or self._lost):
                    self._tail = None
                    self._say({"do": "tail", "lines": lines})
                    self._changed.wait_for(
                        lambda: self._tail is not None or self._output_complete or self._ended or self._lost,
                        timeout=2.0,
                    )
                    if self._tail is not None:
                        return printable(self._tail)
        return printable(last_lines(self.output, lines))

    def end(self) -> None:
        """SIGKILLs whatever is left of the tree, waits until it is gone and removes `tmp`. Idempotent."""
        with self._ending:
            if self._keeper is None:
                return
            self._say({"do": "end"})
            self._reader.join(_END)
            if self._reader.is_alive():
                # The keeper was stopped, or hangs: without it, the reader sweeps.
                self._keeper.kill()
                self._reader.join(_END)
            self._keeper.wait()
            self._keeper = None
            self._control.close()
            os.close(self._keeper_said)
            if self._pidfd >= 0:
                os.close(self._pidfd)

    def __enter__(self) -> ProcessInstance:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __repr__(self) -> str:
        return f"<ProcessInstance {self.name} pid={self.pid}>"


def _text(value: str) -> str:
    return os.fsencode(value).decode("utf-8", "surrogateescape")


def launch(
    *,
    target: Target,
    ports: Mapping[str, int],
    output: Path,
    workers: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
    arguments: Sequence[str] = (),
) -> ProcessInstance:
    """Starts an instance of `target`, as `launch_command` does; `environment` and `arguments` are added to its own."""
    tmp = fresh_tmp()
    return launch_command(
        name=target.name,
        command=target.command_line(ports=ports, workers=workers, tmp=tmp, extra=arguments),
        environment=target.environment_for(ports=ports, workers=workers, tmp=tmp, extra=environment),
        working_directory=target.working_directory,
        ports=ports,
        output=output,
        tmp=tmp,
    )


def launch_command(
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    working_directory: Path,
    output: Path,
    ports: Mapping[str, int] = MappingProxyType({}),
    name: str = "target",
    tmp: Path | None = None,
    host: str = "127.0.0.1",
) -> ProcessInstance:
    """Starts `command` (no shell) and returns once it has been executed.

    `environment` holds the declared variables only, see `target_environment`. `tmp` must not exist, or be empty; take
    it from `fresh_tmp` where the command line needs it. `output` is the file to write, in a folder that exists.
    `ports` are the numbers that the command was given; nothing here looks at them.

    Raises CommandNotStarted where the command cannot be executed, HarnessError where the keeper fails. In both cases
    nothing is left behind. Else the caller calls `end`; where the calling process dies instead, the keeper ends the
    tree.
    """
    if not command:
        raise CommandNotStarted(f"{name}: the command is empty")
    if any("\0" in part for part in [*command, *environment, *environment.values()]):
        raise CommandNotStarted(f"{name}: the command or its environment holds a NUL character")
    instance = ProcessInstance(name=name, ports=ports, host=host, tmp=tmp or fresh_tmp(), output=output)
    full = target_environment(environment, tmp=instance.tmp, instance=instance.identity)
    try:
        instance._launch(command, full, working_directory)
    except BaseException:
        instance.end()
        raise
    return instance


def _is_instance(instance: ProcessInstance) -> Instance:
    """Never called: lets the type checker compare the class with the protocol."""
    return instance
