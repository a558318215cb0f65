"""One running container of a target: an `Instance`."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil

from drainproof.errors import CommandNotStarted, HarnessError, Inconclusive, Unsupported
from drainproof.probes import processes, sockets
from drainproof.probes.sockets import Namespace
from drainproof.target import kernel
from drainproof.target.container import cgroup
from drainproof.target.container.engine import HOST, Engine, libraries, reason, speaking
from drainproof.target.container.executed import ExecutedProcesses
from drainproof.target.container.image import Image
from drainproof.target.container.network import ContainerSockets
from drainproof.target.container.relays import docker_proxy, is_relayed
from drainproof.target.container.watch import Watch
from drainproof.target.instance import Executed, ExitStatus
from drainproof.target.main_kind import MainKind, kind_of_main
from drainproof.target.output_tail import last_lines, printable
from drainproof.target.signals import name_of, number

_END = 20.0
"""Seconds that an engine may take to end a container that was sent SIGKILL, and to say so."""

_STATUS = 15.0
"""Seconds that it may take to tell the exit status of a PID 1 that has ended."""

_CONFLICT = 409

_MOST_OUTPUT = 4000
"""Characters of a command's output that are kept."""


class ContainerInstance:
    """One container. Pids are those of this machine; methods may be called from any thread."""

    def __init__(
        self,
        *,
        container: Any,
        engine: Engine,
        image: Image,
        pid: int,
        pidfd: int | None,
        watch: Watch,
        network: ContainerSockets,
        inside: Mapping[str, int],
        ports: Mapping[str, int],
        tmp: Path,
        output: Path,
        name: str,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """`pid` is 0, and `pidfd` None, where PID 1 ended before it could be looked at.

        `watch` and `network` are closed by `end`. `later` does what nobody has to wait for.
        """
        self._later = later
        self.name = name
        self.pid = pid
        self.host = HOST
        self.ports: Mapping[str, int] = MappingProxyType(dict(ports))
        self.tmp = tmp
        self.output = output
        self.container = container
        self.image = image
        self._network = network
        self.sockets = Namespace(
            rows=self._network.rows, inside={ports[port]: number for port, number in inside.items()}, own=True
        )
        self._engine = engine
        self._pidfd = pidfd
        self._watch = watch
        self._ending = threading.Lock()
        self._removed = False
        sample = processes.sample_one(pid=pid) if pid else None
        self.started = time.monotonic() if sample is None else sample.created
        self.group = _group(pid)
        self._cgroup = cgroup.folder(pid=pid) if pid else None
        self._id: str = container.id
        self.proxy = any(docker_proxy(port=port) for port in ports.values())
        """Whether docker-proxy is between the clients and the server."""

    @property
    def stop_signal(self) -> str:
        """The image's STOPSIGNAL by name, else SIGTERM."""
        if not self.image.stop_signal:
            return "SIGTERM"
        wanted = number(self.image.stop_signal)
        if wanted is None:
            raise Unsupported(f"the image's STOPSIGNAL is {self.image.stop_signal!r}, which this machine does not have")
        return name_of(wanted)

    @property
    def obscured(self) -> str | None:
        """A relay that is in the way: docker-proxy, or any other one between the clients and a port that listens."""
        what = "accepts connections for a server that does not, and turns resets into orderly ends"
        if self.proxy:
            return (
                f"docker-proxy stands between the clients and the server (engine at {self._engine.address}): it {what}"
                '. Start the engine with --userland-proxy=false ({"userland-proxy": false} in /etc/docker/daemon.json)'
            )
        if is_relayed(host=self.host, port=self.ports["http"], sockets=self.sockets):
            return (
                f"something stands between the clients and the server (engine at {self._engine.address}): connections "
                f"to port {self.ports['http']} do not arrive as they were made. A relay, as of a rootless engine or a "
                f"virtual machine, {what}. Use an engine that publishes ports by address translation alone"
            )
        return None

    def describe(self) -> dict[str, Any]:
        """The container, its image and its engine."""
        return {
            "container": self.container.id[:12],
            "own_pid": 1,
            "engine": self._engine.describe(),
            "docker_proxy": self.proxy,
            **self.image.describe(),
        }

    def own_pid(self, pid: int) -> int:
        """The number that a process has in the container."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
                if line.startswith("NSpid:"):
                    return int(line.split()[-1])
        return pid

    @property
    def problems(self) -> list[str]:
        """What went wrong with the watching."""
        return list(self._watch.problems)

    # -- its end --

    def exit_status(self) -> ExitStatus | None:
        """How PID 1 ended; None while it runs. Blocks only where it has just ended and the engine has not told how.

        Raises HarnessError where the engine does not tell.
        """
        watch = self._watch
        if (
            watch.exit is None
            and watch.ended_at is not None
            and not watch.wait_for(self._known, until=watch.ended_at + _STATUS)
        ):
            raise HarnessError(
                f"PID 1 has ended, and the Docker engine at {self._engine.address} has not told how within "
                f"{_STATUS:g} s"
            )
        if watch.exit is None and watch.trouble is not None:
            raise HarnessError(watch.trouble)
        return watch.exit

    def wait_exit(self, *, until: float) -> ExitStatus | None:
        """Waits for the end of PID 1, no longer than until that moment."""
        self._watch.wait_for(lambda: self._watch.ended_at is not None or self._known(), until=until)
        return self.exit_status()

    def _known(self) -> bool:
        return self._watch.exit is not None or self._watch.trouble is not None

    def wait_gone(self, *, until: float) -> float | None:
        """The end of PID 1 is the end of all: the kernel ends the whole PID namespace before it tells of it."""
        status = self.wait_exit(until=until)
        return None if status is None else status.time

    def wait_output(self, *, until: float) -> bool:
        """Waits until all output is in the file."""
        self._watch.wait_for(lambda: self._watch.output_complete, until=until)
        return self._watch.output_complete

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel killed a process of it for want of memory: PID 1, or only a child. Until `end`."""
        with speaking("looked at the container"):
            state = self._engine.client.api.inspect_container(self._id)["State"]
        return bool(state["OOMKilled"])

    # -- its processes --

    def processes(self) -> list[psutil.Process]:
        """The living processes of the container, PID 1 first, also those that somebody executed in it; no zombies."""
        if self._watch.ended_at is not None or not self.pid:
            return []
        found = []
        for pid in self._members():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return sorted(found, key=lambda process: process.pid != self.pid)

    def _members(self) -> list[int]:
        if self._cgroup is None:
            return cgroup.members_by_name(container=self._id)
        return cgroup.members(self._cgroup)

    def kind_of_main(self) -> MainKind:
        """Whether PID 1 is the server, a shell, an init or a wrapper, with a sentence that says so."""
        living = self.processes()
        inodes = [listener.inode for listener in self.sockets.listeners(ports=set(self.ports.values()))]
        owners = sockets.owners(inodes=inodes, pids=[process.pid for process in living])
        return kind_of_main(main=self.pid, processes=living, listeners=set().union(*owners.values()))

    def send(self, signum: int) -> None:
        """Sends a signal to PID 1. Raises ProcessLookupError where it has ended.

        Through its pidfd, and not through the engine: that takes 20 ms and more, and resumes a paused container.
        """
        if self._pidfd is None or self._watch.ended_at is not None:
            raise ProcessLookupError(f"the container of {self.name} has ended")
        try:
            kernel.pidfd_send_signal(self._pidfd, signum)
        except PermissionError:  # a process of root, and we are not: the engine may
            with speaking("sent a signal"):
                self.container.kill(signal=signum)

    def send_group(self, signum: int) -> None:
        """Sends a signal to the process group of PID 1. Raises ProcessLookupError where nobody is left in it."""
        if self._watch.ended_at is not None or not self.group:
            raise ProcessLookupError(f"the container of {self.name} has ended")
        try:
            os.killpg(self.group, signum)
        except PermissionError as error:  # an engine signals PID 1 alone
            raise Inconclusive(
                "only root, or the user whom the container's processes run as, may signal their process group"
            ) from error

    def execute(self, command: Sequence[str], *, until: float) -> Executed:
        """Runs a command in the container, as `docker exec` and an exec hook of Kubernetes do.

        Its times are those of its process; where that lived too shortly to be seen, those of the engine's answers.
        """
        if self._watch.ended_at is not None:
            raise ProcessLookupError(f"the container of {self.name} has ended")
        with contextlib.closing(ExecutedProcesses(members=self._members)) as seen:
            return self._execute(command, until=until, seen=seen)

    def _execute(self, command: Sequence[str], *, until: float, seen: ExecutedProcesses) -> Executed:
        docker, _ = libraries()
        api = self._engine.client.api
        asked = time.monotonic()
        said: list[bytes] = []
        failures: list[Exception] = []
        try:
            with speaking(f"executed {command[0]} in the container"):
                identity = api.exec_create(self.container.id, list(command))["Id"]
        except HarnessError as error:
            if isinstance(error.__cause__, docker.errors.APIError):  # it has ended meanwhile
                raise ProcessLookupError(str(error)) from error
            raise

        def run() -> None:
            try:
                said.append(api.exec_start(identity))
            except Exception as error:  # raised below, where it is not the end of the container that it tells of
                failures.append(error)

        thread = threading.Thread(target=run, name="drainproof-exec", daemon=True)
        thread.start()
        while thread.is_alive() and time.monotonic() < until:
            seen.watch(until=until)
        answered = time.monotonic()
        with speaking(f"asked after {command[0]}"):
            state = api.exec_inspect(identity)
        process = seen.of(int(state.get("Pid") or 0))
        started = asked if process is None else max(asked, process.started)
        if process is not None and process.ended is None and self._watch.ended_at is None and thread.is_alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kernel.pidfd_send_signal(process.pidfd, signal.SIGKILL)
            thread.join(_STATUS)
            return Executed(started=started, ended=time.monotonic(), code=None, output=_text(said))
        if failures and self._watch.ended_at is None:
            raise HarnessError(
                f"the Docker engine at {self._engine.address} failed while drainproof executed {command[0]} in the "
                f"container: {reason(failures[0])}"
            ) from failures[0]
        ended = answered if process is None or process.ended is None else process.ended
        code = state.get("ExitCode")
        output = _text(said)
        if code in (126, 127) and "exec failed" in output:  # what runc says of a command that is not there
            raise CommandNotStarted(f"{command[0]!r} cannot be executed in the container: {output.strip()}")
        return Executed(started=started, ended=max(started, ended), code=code, output=output)

    # -- what it leaves --

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, made fit for a terminal."""
        if self._watch.output_complete:
            return printable(last_lines(self.output, lines))
        return printable(self._watch.recent(lines))

    def end_processes(self) -> None:
        """SIGKILLs PID 1, and with it everybody, and waits until they are gone."""
        with self._ending:
            self._kill()

    def _kill(self) -> None:
        if self._watch.exit is not None or self._removed:
            return
        docker, _ = libraries()
        with speaking("ended the container"):
            with contextlib.suppress(docker.errors.APIError):  # it has ended by itself meanwhile
                self.container.kill()
        self._watch.wait_for(self._known, until=time.monotonic() + _END)
        self._watch.wait_for(lambda: self._watch.output_complete, until=time.monotonic() + _END)

    def end(self) -> None:
        """Ends whatever is left of the container, and removes it. Idempotent.

        Where the engine does not answer any more, PID 1 is ended without it, and the reaper removes the container as
        soon as the engine answers again.
        """
        with self._ending:
            if self._removed:
                return
            self._removed = True
            told = self._watch.trouble is not None
            try:
                if self._watch.exit is not None:  # nothing runs any more, and the engine takes its time to tidy up
                    self._later(self._remove)
                else:
                    self._remove()
            except HarnessError:
                self._strike()
                if not told:
                    raise
            finally:
                self._watch.close()
                self._network.close()
                self._pidfd = None

    def _remove(self) -> None:
        docker, _ = libraries()
        self._engine.require()  # so that nobody waits for long for one that hangs
        with speaking("removed the container"):
            try:
                self.container.remove(force=True, v=True)
            except docker.errors.NotFound:
                pass
            except docker.errors.APIError as error:
                if error.status_code != _CONFLICT:  # somebody else removes it already
                    raise

    def _strike(self) -> None:
        """SIGKILL for PID 1, and with it for everybody, without the engine."""
        if self._pidfd is not None:
            with contextlib.suppress(OSError):
                kernel.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def __repr__(self) -> str:
        return f"<ContainerInstance {self.name} {self.container.id[:12]} pid={self.pid}>"


def _group(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.getpgid(pid) if pid else 0
    return 0


def _text(said: list[bytes]) -> str:
    return b"".join(said).decode("utf-8", "replace")[-_MOST_OUTPUT:]
