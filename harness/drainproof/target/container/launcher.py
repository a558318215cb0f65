"""Starts a target in a container: a `Launcher`."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drainproof.errors import CommandNotStarted, HarnessError, Inconclusive
from drainproof.target import kernel
from drainproof.target.container import cgroup, labels
from drainproof.target.container.engine import Engine, address, connect, libraries, reason, speaking
from drainproof.target.container.image import Image, obtain
from drainproof.target.container.instance import ContainerInstance
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


class ContainerLauncher:
    """Starts containers of one target. The engine is asked, and the image made, when the first one is wanted."""

    mode: LaunchMode = "container"

    def __init__(self, *, target: Target, progress: Callable[[str], None]) -> None:
        self._target = target
        self._progress = progress
        self._session = uuid.uuid4().hex[:12]
        self._reaper: Reaper | None = None
        self._image: Image | None = None
        self._failure: Exception | None = None
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
                raise self._failure
            if self._image is None:
                try:
                    self._image = self._prepare()
                except (CommandNotStarted, HarnessError) as error:  # it would fail the same way for every scenario
                    self._failure = error
                    raise
            return self._image

    def _prepare(self) -> Image:
        engine = self.engine
        with speaking("removed what earlier sessions left"):
            labels.remove(engine.client, which=lambda found: not labels.is_alive(found.get(labels.OWNER, "")))
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
        docker, testcontainers = libraries()
        words = target.command_line(ports=spec.ports, workers=workers, tmp=TMP)
        more = target.arguments(changes.arguments, ports=spec.ports, workers=workers, tmp=TMP)
        command = [*(words or image.command), *more] if words or more else None
        with speaking("made a container"):
            made = testcontainers.DockerContainer(
                image.id,
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
            self._start(made, name=target.name)
            return self._watched(made, engine, image, ports=ports, output=output, tmp=tmp or fresh_tmp())
        except BaseException:
            if made._container is not None:
                with contextlib.suppress(Exception):  # the first error is the one to tell; the reaper removes the rest
                    made._container.remove(force=True, v=True)
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
        container = made._container
        with speaking("looked at the container"):
            state = engine.client.api.inspect_container(container.id)["State"]
            connection = engine.client.api.attach_socket(
                container.id, params={"stdout": 1, "stderr": 1, "stream": 1, "logs": 1}
            )
        pid = int(state["Pid"])
        pidfd = _pidfd(pid)
        if pid and not cgroup.belongs(pid=pid, container=container.id) and not _has_ended(engine, container.id):
            connection.close()
            raise Inconclusive(
                f"the Docker engine at {engine.address} runs elsewhere: its containers are no processes of this "
                "machine, so neither accepted requests nor signals can be seen. Run drainproof where the engine runs"
            )
        watch = Watch(
            connection=connection,
            output=output,
            literals=LITERALS,
            pidfd=pidfd,
            wait=lambda: _wait(engine, container.id),
        )
        return ContainerInstance(
            container=container,
            engine=engine,
            image=image,
            pid=pid if pidfd is not None else 0,
            pidfd=pidfd,
            watch=watch,
            inside=self._spec.ports,
            ports=ports,
            tmp=tmp,
            output=output,
            name=self._target.name,
        )

    def inherited(self, variable: str) -> str | None:
        """What the image sets."""
        return self.image.environment.get(variable)

    def seen(self, folder: Path, *, inside: str) -> str:
        """A folder is seen where it is mounted."""
        return inside

    def close(self) -> None:
        """Removes what the session made in the engine. Idempotent."""
        if self._reaper is not None:
            self._reaper.close()
            self._reaper = None


def _pidfd(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return kernel.pidfd_open(pid) if pid else None
    return None


def _has_ended(engine: Engine, container: str) -> bool:
    return not engine.client.api.inspect_container(container)["State"]["Running"]


def _wait(engine: Engine, container: str) -> dict[str, Any]:
    """Blocks until the engine says that the container has ended; its `State` then."""
    api = engine.client.api
    while True:
        try:
            api.wait(container, timeout=3600)
        except Exception as error:
            if "timed out" not in str(error).lower():
                raise
        state: dict[str, Any] = api.inspect_container(container)["State"]
        if not state["Running"]:
            return state
        time.sleep(0.01)  # it has said that it ended, and shows it in a moment


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
