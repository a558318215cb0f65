"""Starts a target in a container: a `Launcher`."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from drainproof.errors import CommandNotStarted, DrainproofError, HarnessError, Inconclusive
from drainproof.hidden import Hidden
from drainproof.target import kernel
from drainproof.target.container import cgroup, labels
from drainproof.target.container.engine import Engine, address, connect, libraries, reason, speaking
from drainproof.target.container.image import Image, obtain
from drainproof.target.container.instance import ContainerInstance
from drainproof.target.container.made import container_class
from drainproof.target.container.network import ContainerSockets
from drainproof.target.container.reaper import Reaper
from drainproof.target.container.watch import Watch
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import Target
from drainproof.target.instance import Instance
from drainproof.target.launcher import UNCHANGED, Changes, Launcher
from drainproof.target.modes import LaunchMode
from drainproof.target.process import LITERALS, fresh_tmp

TMP = Path("/tmp")
"""What `{tmp}` stands for."""

LOST = 3
"""So often in a row an engine that answered before may fail; then it is not asked again in this session."""

LONG = 3600
"""Seconds after which the engine is asked anew for the end of a container that runs."""

ELSEWHERE = 5.0
"""Seconds after which a PID 1 that runs, and is no process of this machine, is taken to be one of another.

One that has just ended is none either, until the engine notices.
"""


class ContainerLauncher:
    """Starts containers of one target. The engine is asked, and the image made, when the first one is wanted."""

    mode: LaunchMode = "container"

    def __init__(self, *, target: Target, progress: Callable[[str], None], hidden: Iterable[str] = ()) -> None:
        """`hidden`: the forms of secrets that output is written without."""
        self._target = target
        self._hidden = Hidden(hidden)
        self._progress = progress
        self._session = uuid.uuid4().hex[:12]
        self._reaper: Reaper | None = None
        self._image: Image | None = None
        self._failure: DrainproofError | None = None
        self._silent = 0
        self._broken_off = False
        """Whether a build or a launch was, so that the engine may still be about to make what we asked it for."""
        self._removals: list[tuple[frozenset[int], Future[None]]] = []
        """Of which ports, and what removes the container that had them."""
        self._remover = ThreadPoolExecutor(2, thread_name_prefix="drainproof-removal")
        self._is_here = False
        """Whether the engine's processes are this machine's, as far as is known."""
        self._preparing = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The engine. Raises Unsupported where none answers."""
        return connect(address())

    @property
    def image(self) -> Image:
        """The image. Raises CommandNotStarted where it cannot be had, Unsupported where there is no engine."""
        with self._preparing:
            if self._failure is not None:
                raise type(self._failure)(str(self._failure)) from self._failure
            if self._image is None:
                self._require_not_given_up()
                try:
                    with self._noticing_breaks():
                        self._image = self._prepare()
                except HarnessError:  # the engine was silent, or failed: another time it may not
                    self._silent += 1
                    raise
                except DrainproofError as error:  # it would fail the same way, and take as long, for every scenario
                    self._failure = error
                    raise
            return self._image

    def _require_engine(self) -> None:
        """Raises HarnessError where the engine has gone away; it may come back, but nobody waits for it for ever."""
        self._require_not_given_up()
        try:
            self.engine.require()
        except HarnessError:
            self._silent += 1
            raise
        self._silent = 0

    def _require_not_given_up(self) -> None:
        if self._silent >= LOST:
            raise HarnessError(f"the Docker engine at {address()} failed {LOST} times in a row; it was not asked again")

    def _prepare(self) -> Image:
        engine = self.engine
        with speaking("removed what earlier sessions left"):
            labels.remove(engine.client, which=lambda found: not labels.is_alive(found.get(labels.OWNER, "")))
        if self._reaper is None:
            self._reaper = Reaper(session=self._session)
        return obtain(
            self._spec, engine=engine, name=self._target.name, tags=labels.of(self._session), progress=self._progress
        )

    @property
    def _spec(self) -> ContainerSpec:
        assert self._target.container is not None, "a target that is launched in containers says how"
        return self._target.container

    def launch(
        self,
        *,
        target: Target,
        ports: Mapping[str, int],
        output: Path,
        workers: int = 1,
        changes: Changes = UNCHANGED,
        tmp: Path | None = None,
    ) -> ContainerInstance:
        """Starts a container of `target`, its ports published on 127.0.0.1 under the numbers in `ports`."""
        image, engine, spec = self.image, self.engine, self._spec
        self._require_engine()
        self._await_removals(set(ports.values()))
        docker, _ = libraries()
        words = target.command_line(ports=spec.ports, workers=workers, tmp=TMP)
        more = target.arguments(changes.arguments, ports=spec.ports, workers=workers, tmp=TMP)
        command = [*(words or image.command), *more] if words or more else None
        with speaking("made a container"):
            made = container_class()(
                image.id,
                engine=engine,
                command=command,
                env=target.environment_for(ports=spec.ports, workers=workers, tmp=TMP, extra=changes.environment),
                name=f"drainproof-{self._session}-{uuid.uuid4().hex[:8]}",
            )
        made.ports = {f"{number}/tcp": ("127.0.0.1", ports[name]) for name, number in spec.ports.items()}
        for mount in changes.mounts:
            made.with_volume_mapping(str(mount.source), mount.inside, "ro" if mount.read_only else "rw")
        options = dict(changes.options)
        if hasattr(made, "tmpfs"):  # newer testcontainers pass their own on, and no other
            made.tmpfs.update(options.pop("tmpfs", {}))
        made.with_kwargs(
            **{
                "labels": labels.of(self._session),
                "init": spec.init,
                "log_config": docker.types.LogConfig(type="json-file"),
                **({} if spec.user is None else {"user": spec.user}),
                **options,
            }
        )
        try:
            with self._noticing_breaks():
                self._start(made, name=target.name)
            return self._watched(made, engine, image, ports=ports, output=output, tmp=tmp or fresh_tmp())
        except BaseException:
            made.discard()
            raise

    @contextlib.contextmanager
    def _noticing_breaks(self) -> Iterator[None]:
        """Notices where what the engine is asked for is broken off by Ctrl-C or the like, and not answered."""
        try:
            yield
        except DrainproofError:
            raise
        except BaseException:
            self._broken_off = True
            raise

    def _start(self, made: Any, *, name: str) -> None:
        docker, _ = libraries()
        try:
            with speaking("started a container"):
                made.start()
        except HarnessError as error:
            cause = error.__cause__
            if isinstance(cause, docker.errors.APIError) and _is_command(str(cause.explanation)):
                raise CommandNotStarted(
                    f"{name}: the command cannot be started in its container: {reason(cause)}"
                ) from error
            raise

    def _watched(
        self, made: Any, engine: Engine, image: Image, *, ports: Mapping[str, int], output: Path, tmp: Path
    ) -> ContainerInstance:
        """The instance of a container that was started."""
        container = made.get_wrapped_container()
        pid, pidfd = self._locate(engine, container.id)
        with contextlib.ExitStack() as stack:  # an instance that comes about closes all of this at its end
            if pidfd is not None:
                stack.callback(os.close, pidfd)
            watch = Watch(
                connection=made.connection,
                output=output,
                literals=LITERALS,
                pidfd=pidfd,
                wait=lambda: _wait(engine, container.id),
                hidden=self._hidden,
            )
            stack.pop_all()  # the pidfd is the watch's now
            stack.callback(watch.close)
            network = ContainerSockets(pid=pid)
            stack.callback(network.close)
            instance = ContainerInstance(
                container=container,
                engine=engine,
                image=image,
                pid=pid,
                pidfd=pidfd,
                watch=watch,
                network=network,
                inside=self._spec.ports,
                ports=ports,
                tmp=tmp,
                output=output,
                name=self._target.name,
                later=lambda remove: self._removals.append((frozenset(ports.values()), self._remover.submit(remove))),
            )
            stack.pop_all()
            return instance

    def _await_removals(self, ports: Set[int] | None = None) -> None:
        """Waits until the containers are removed that had one of these ports (None: all).

        One that could not be removed is left to the reaper.
        """
        for of, removal in self._removals:
            if ports is None or of & ports:
                wait([removal])
        self._removals = [(of, removal) for of, removal in self._removals if not removal.done()]

    def _locate(self, engine: Engine, container: str) -> tuple[int, int | None]:
        """PID 1 among the processes of this machine, with its pidfd; 0 and None where it has ended.

        Raises Inconclusive where the engine runs elsewhere.
        """
        until = time.monotonic() + ELSEWHERE
        while True:
            with speaking("looked at the container"):
                state = engine.client.api.inspect_container(container)["State"]
            pid = int(state["Pid"])
            if not state["Running"] or not pid:
                return 0, None
            pidfd = _pidfd(pid)
            if pidfd is not None:
                if cgroup.belongs(pid=pid, container=container):
                    self._is_here = True
                    return pid, pidfd
                os.close(pidfd)
            if not self._is_here and time.monotonic() > until:
                raise Inconclusive(
                    f"the Docker engine at {engine.address} runs elsewhere: its containers are no processes of this "
                    "machine, so neither accepted requests nor signals can be seen. Run drainproof where the engine "
                    "runs"
                )
            time.sleep(0.02)  # it has just ended, and the engine shows it in a moment

    def inherited(self, variable: str) -> str | None:
        """What the image sets."""
        return self.image.environment.get(variable)

    def seen(self, folder: Path, *, inside: str) -> str:
        """A folder is seen where it is mounted."""
        return inside

    def close(self) -> None:
        """Removes what the session made in the engine. Idempotent."""
        self._await_removals()
        self._remover.shutdown()
        if self._reaper is not None:
            self._reaper.close(orderly=not self._broken_off)
            self._reaper = None


def _pidfd(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return kernel.pidfd_open(pid) if pid else None
    return None


def _wait(engine: Engine, container: str) -> int:
    """Blocks until the engine says that the container has ended; its exit code. Raises HarnessError.

    An engine that is being stopped ends its containers, and tells of it on the connections that it has; new ones it
    takes no more. So it must still answer after the end: then the end was not its own doing.
    """
    while True:
        with speaking("waited for the end of a container"):
            try:
                answer = engine.client.api.wait(container, timeout=LONG)
            except Exception as error:
                if "timed out" not in str(error).lower():
                    raise
                continue
        engine.require()
        return int(answer["StatusCode"])


def _is_command(text: str) -> bool:
    """Whether an engine's complaint is about the command, and not about itself."""
    return any(
        words in text
        for words in (
            "executable file not found",
            "no such file or directory",
            "permission denied",
            "exec format error",
        )
    )


def _is_launcher(launcher: ContainerLauncher, instance: ContainerInstance) -> tuple[Launcher, Instance]:
    """Never called: lets the type checker compare the classes with their protocols."""
    return launcher, instance
