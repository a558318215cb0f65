"""The process launcher: starts a target through its keeper, and says what the keeper sees.

`keeper.py` explains why there is a keeper, `keeper_link.py` is the line to it.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import psutil

from drainproof.errors import CommandNotStarted, HarnessError
from drainproof.probes import sockets
from drainproof.probes.sockets import HERE, Namespace
from drainproof.target import kernel, tree
from drainproof.target.description import Target
from drainproof.target.instance import Executed, ExitStatus, Instance
from drainproof.target.keeper_link import KeeperLink
from drainproof.target.launcher import UNCHANGED, Changes, Launcher
from drainproof.target.main_kind import MainKind, kind_of_main
from drainproof.target.modes import LaunchMode
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

NOT_INHERITED = ("PYTEST_", "COVERAGE_", "COV_CORE_", "LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET")
"""How those variables of our own environment begin that are no business of the target."""


def fresh_tmp() -> Path:
    """A name for the TMPDIR of an instance. It is short, since a Unix socket in it has 107 bytes for its path."""
    return Path(tempfile.gettempdir()) / f"dp-{uuid.uuid4().hex[:12]}"


def target_environment(declared: Mapping[str, str], *, tmp: Path, identity: str) -> dict[str, str]:
    """The environment of a target: ours, without pytest's and coverage's variables, then TMPDIR, then what is declared.

    A server that runs under coverage, or sees PYTEST_CURRENT_TEST, is not the one that runs in production, and a
    NOTIFY_SOCKET would let it report to our service manager. Whoever wants one of them declares it. Everything else is
    inherited: PATH, PYTHONPATH, virtual environment, proxies, and credentials that a model download may need.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    return {**inherited, "TMPDIR": str(tmp), **declared, tree.MARKER: identity}


class ProcessInstance:
    """One running target: an `Instance`. Its methods may be called from any thread.

    Those that ask for the state of the target raise HarnessError where its keeper was killed: nothing is known then.
    """

    def __init__(
        self,
        *,
        link: KeeperLink,
        ports: Mapping[str, int],
        host: str,
        tmp: Path,
        output: Path,
        name: str,
        surroundings: tuple[Mapping[str, str], Path],
        hidden: Sequence[str],
    ) -> None:
        """`surroundings`: the environment and the working directory that the main process was given.

        `hidden`: the forms of secrets that its output is written without.
        """
        self.name = name
        self._surroundings = surroundings
        self._hidden = hidden
        self._executed = itertools.count(1)
        self.pid = link.pid
        self.group = link.pid  # it leads a session of its own
        self.started = link.started
        self.ports: Mapping[str, int] = MappingProxyType(dict(ports))
        self.host = host
        self.tmp = tmp
        self.output = output
        self._link = link
        self._asking_tail = threading.Lock()

    @property
    def stop_signal(self) -> str:
        """What `kill` and supervisors send."""
        return "SIGTERM"

    @property
    def obscured(self) -> str | None:
        """Nothing is between the clients and the server."""
        return None

    @property
    def sockets(self) -> Namespace:
        """It listens in the namespace that we are in."""
        return HERE

    def describe(self) -> dict[str, Any]:
        """Nothing is particular to a process."""
        return {}

    def own_pid(self, pid: int) -> int:
        """The same number."""
        return pid

    def execute(self, command: Sequence[str], *, until: float) -> Executed:
        """Runs a command in the target's environment and folder, and ends it at that moment, or with the target.

        It gets a keeper of its own, so that nothing of it stays either, whatever happens to us. What it prints goes to
        a file beside the target's output, `executed-N.jsonl`. What it leaves running is ended with it.

        Raises CommandNotStarted where there is no such command, ProcessLookupError where the target has ended.
        """
        if self.exit_status() is not None:
            raise ProcessLookupError(f"{self.name} has ended")
        environment, folder = self._surroundings
        with launch_command(
            name=f"a command in {self.name}",
            command=command,
            environment=environment,
            working_directory=folder,
            output=self.output.with_name(f"executed-{next(self._executed)}.jsonl"),
            hidden=self._hidden,
        ) as running:
            status = None
            while status is None and self.exit_status() is None and monotonic() < until:
                status = running.wait_exit(until=min(until, monotonic() + 0.02))
            ended = monotonic() if status is None else status.time
            running.end_processes()
            return Executed(
                started=running.started,
                ended=ended,
                code=None if status is None else status.shell_code,
                output=running.tail(),
            )

    @property
    def problems(self) -> list[str]:
        """What went wrong without stopping the keeper: output that could not be written, processes that do not die."""
        return list(self._link.problems)

    @property
    def killed(self) -> list[tuple[int, str]]:
        """Pid and name of every process that was still alive when `end_processes` or `end` came."""
        return list(self._link.killed)

    def exit_status(self) -> ExitStatus | None:
        """How the main process ended; None while it runs. Never blocks."""
        if self._link.exit is None:
            self._require_keeper()
        return self._link.exit

    def wait_exit(self, *, until: float) -> ExitStatus | None:
        """Waits for the end of the main process, no longer than until that moment."""
        self._link.wait(lambda: self._link.exit or self._link.lost, until=until)
        return self.exit_status()

    def wait_gone(self, *, until: float) -> float | None:
        """Waits for the end of the last process of the tree; returns when that was, or None if it is not yet."""
        self._link.wait(lambda: self._link.gone is not None or self._link.lost, until=until)
        if self._link.gone is None:
            self._require_keeper()
        return self._link.gone

    def wait_output(self, *, until: float) -> bool:
        """Waits until all output is in the file, which is right after the tree is gone; False if it is not yet."""
        self._link.wait(lambda: self._link.output_complete or self._link.lost, until=until)
        return self._link.output_complete

    def processes(self) -> list[psutil.Process]:
        """The living tree, main process first if it lives, also those that left group and session; no zombies."""
        found = []
        for stat in self._living():
            try:
                found.append(psutil.Process(stat.pid))
            except psutil.NoSuchProcess:
                continue
        return sorted(found, key=lambda process: process.pid != self.pid)

    def _living(self) -> list[tree.Stat]:
        if self._link.gone is not None or self._link.ended:
            return []
        self._require_keeper()
        return [stat for stat in tree.descendants(self._link.keeper_pid) if stat.alive]

    def _require_keeper(self) -> None:
        if self._link.lost is not None:
            raise HarnessError(f"{self._link.lost}; nothing is known of the target since, and its processes were ended")

    def send(self, signum: int) -> None:
        """Sends a signal to the main process. Raises ProcessLookupError where it has ended."""
        with self._link.changed:  # so that the descriptor is not closed, and its number used again, in between
            if self._link.pidfd < 0:
                raise ProcessLookupError(f"{self.name} has been ended")
            kernel.pidfd_send_signal(self._link.pidfd, signum)

    def send_group(self, signum: int) -> None:
        """Sends a signal to the main process's group. Raises ProcessLookupError where nobody is left in it."""
        if self._link.exit is not None and not any(stat.group == self.group for stat in self._living()):
            raise ProcessLookupError(f"nobody is left in process group {self.group}")  # the number may be another's now
        os.killpg(self.group, signum)

    def kind_of_main(self) -> MainKind:
        """Whether the main process is the server, a shell or a wrapper, with a sentence that says so."""
        processes = self.processes()
        inodes = [listener.inode for listener in self.sockets.listeners(ports=set(self.ports.values()))]
        owners = sockets.owners(inodes=inodes, pids=[process.pid for process in processes])
        return kind_of_main(main=self.pid, processes=processes, listeners=set().union(*owners.values()))

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, made fit for a terminal."""
        link = self._link

        def in_file() -> bool:
            return bool(link.output_complete or link.ended or link.lost)

        with self._asking_tail:
            if not in_file():
                link.tail = None
                link.tell({"do": "tail", "lines": lines})
                link.wait(lambda: link.tail is not None or in_file(), until=monotonic() + 2.0)
                if link.tail is not None:
                    return printable(link.tail)
        return printable(last_lines(self.output, lines))

    def end_processes(self) -> None:
        """SIGKILLs whatever is left of the tree and waits until it is gone. Its files stay, see `end`."""
        self._link.tell({"do": "kill"})
        self._link.wait(lambda: self._link.output_complete or self._link.lost, until=monotonic() + 12.0)

    def end(self) -> None:
        """SIGKILLs whatever is left of the tree, waits until it is gone, and removes `tmp`. Idempotent.

        Also unlinks what the killed processes had in /dev/shm.
        """
        self._link.close()

    def __enter__(self) -> ProcessInstance:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def __repr__(self) -> str:
        return f"<ProcessInstance {self.name} pid={self.pid}>"


class ProcessLauncher:
    """Starts targets as processes of this machine: a `Launcher`."""

    mode: LaunchMode = "process"

    def __init__(self, *, hidden: Sequence[str] = ()) -> None:
        """`hidden`: the forms of secrets that output is written without."""
        self._hidden = hidden

    def launch(
        self,
        *,
        target: Target,
        ports: Mapping[str, int],
        output: Path,
        workers: int = 1,
        changes: Changes = UNCHANGED,
        tmp: Path | None = None,
    ) -> ProcessInstance:
        """Starts an instance, as `launch_command` does."""
        tmp = tmp or fresh_tmp()
        return launch_command(
            make=self.kind_of_instance(target),
            name=target.name,
            command=target.command_line(ports=ports, workers=workers, tmp=tmp, extra=changes.arguments),
            environment=target.environment_for(ports=ports, workers=workers, tmp=tmp, extra=changes.environment),
            working_directory=target.working_directory,
            ports=ports,
            output=output,
            tmp=tmp,
            hidden=self._hidden,
        )

    def kind_of_instance(self, target: Target) -> Callable[..., ProcessInstance]:
        """What makes the instance of a target that has been started."""
        return ProcessInstance

    def inherited(self, variable: str) -> str | None:
        """It inherits our own environment."""
        return os.environ.get(variable)

    def seen(self, folder: Path, *, inside: str) -> str:
        """It sees folders where they are."""
        return str(folder.absolute())

    def close(self) -> None:
        """Nothing is shared."""


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
    hidden: Sequence[str] = (),
    make: Callable[..., ProcessInstance] = ProcessInstance,
) -> ProcessInstance:
    """Starts `command` (no shell) and returns once it has been executed.

    `environment` holds the declared variables only, see `target_environment`. `tmp` must not exist, or be empty; take
    it from `fresh_tmp` where the command line needs it. `output` is the file to write, in a folder that exists; it is
    written without the texts in `hidden`. `ports` are the numbers that the command was given. `make` makes the instance
    that is returned.

    Raises CommandNotStarted where the command cannot be executed, HarnessError where the keeper fails; nothing is left
    behind then. Else the caller calls `end`; where the calling process dies before that, the keeper ends the tree.
    """
    if not command or not command[0]:
        raise CommandNotStarted(f"{name}: the command is empty")
    if any("\0" in part for part in [*command, *environment, *environment.values()]):
        raise CommandNotStarted(f"{name}: the command or its environment holds a NUL character")
    identity = uuid.uuid4().hex
    tmp = tmp or fresh_tmp()
    full = target_environment(environment, tmp=tmp, identity=identity)
    link = KeeperLink(name=name, identity=identity, tmp=tmp)
    try:
        link.start(
            {
                "command": [_text(part) for part in command],
                "environment": {_text(variable): _text(value) for variable, value in full.items()},
                "working_directory": _text(str(working_directory.absolute())),
                "output": str(output.absolute()),
                "tmp": str(tmp),
                "bounds": {"literals": LITERALS},
                "hidden": [_text(form) for form in hidden],
            }
        )
    except BaseException:
        link.close()
        raise
    return make(
        link=link,
        ports=ports,
        host=host,
        tmp=tmp,
        output=output,
        name=name,
        surroundings=(full, working_directory.absolute()),
        hidden=hidden,
    )


def _text(value: str) -> str:
    """Undecodable bytes in the form that the keeper, which speaks UTF-8 whatever the locale is, turns back."""
    return os.fsencode(value).decode("utf-8", "surrogateescape")


def _is_instance(instance: ProcessInstance, launcher: ProcessLauncher) -> tuple[Instance, Launcher]:
    """Never called: lets the type checker compare the classes with their protocols."""
    return instance, launcher
