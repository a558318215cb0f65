"""What the faults of containers share: which targets have them, and how the engine is asked for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drainproof.errors import HarnessError, Inconclusive, Unsupported
from drainproof.faults.bench import Bench
from drainproof.target.container import cgroup
from drainproof.target.container.engine import libraries, reason, speaking
from drainproof.target.container.instance import ContainerInstance
from drainproof.target.description import Target

END = 5.0
"""Seconds in which a container that has ended is known to have."""


def only_in_containers(target: Target) -> None:
    """Raises Unsupported where the target is not launched in a container."""
    if target.launch != "container":
        raise Unsupported(f"only a container can have this fault; the target is launched as a {target.launch}")


def container_of(bench: Bench) -> ContainerInstance:
    """The container of the running experiment."""
    instance = bench.running
    if not isinstance(instance, ContainerInstance):
        raise HarnessError("this fault was armed for a target that runs in no container")
    return instance


def group_of(bench: Bench, controller: str) -> Path:
    """The folder of the container's control group, of that controller in version 1.

    Raises Unsupported where it is not seen from here, Inconclusive where the container has ended.
    """
    found = cgroup.folder(pid=container_of(bench).pid, controller=controller)
    if found is None:
        if bench.running.exit_status() is not None:
            raise Inconclusive("the container had ended before the fault")
        raise Unsupported(f"the container's control group ({controller}) is not to be seen in {cgroup.MOUNT}")
    return found


def ask(bench: Bench, what: str, action: Callable[[], Any]) -> Any:
    """Has the engine do something to the container; `what` is it in the past tense ("paused the container").

    Raises Inconclusive where the container has ended, Unsupported where the engine refuses, HarnessError where it fails
    to answer.
    """
    docker, _ = libraries()
    try:
        with speaking(what):
            return action()
    except HarnessError as error:
        cause = error.__cause__
        if not isinstance(cause, docker.errors.APIError):
            raise
        if bench.running.wait_exit(until=time.monotonic() + END) is not None:
            raise Inconclusive(f"the container ended before drainproof {what}") from error
        raise Unsupported(f"the engine refuses what drainproof needs ({what}): {reason(cause)}") from error


def give_back(bench: Bench, what: str, action: Callable[[], Any]) -> None:
    """Undoes a fault; a container that has ended meanwhile needs nothing."""
    if bench.running.exit_status() is not None:
        return
    try:
        ask(bench, what, action)
    except Inconclusive:
        return
