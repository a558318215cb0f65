"""The labels of everything that we make in an engine, and what is removed by them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drainproof.target import tree

SESSION = "org.drainproof.session"
"""Which session an object belongs to."""

OWNER = "org.drainproof.owner"
"""The process that runs the session: boot id and PID namespace, pid, and birth, which name it for ever."""


def owner(pid: int) -> str:
    """The label's value for a living process of this machine."""
    stat = tree.read_stat(pid)
    return f"{_machine()}/{pid}/{0 if stat is None else stat.birth}"


def is_alive(value: str) -> bool:
    """Whether the owner lives. One of another machine, or in a container, is taken to: it cannot be seen from here.

    A zombie does not: it was killed, and nobody has asked how it ended.
    """
    machine, _, rest = value.partition("/")
    pid, _, birth = rest.partition("/")
    if machine != _machine() or not pid.isdecimal():
        return True
    stat = tree.read_stat(int(pid))
    return stat is not None and stat.alive and str(stat.birth) == birth


def of(session: str) -> dict[str, str]:
    """The labels for an object of this process's session."""
    return {SESSION: session, OWNER: owner(os.getpid())}


def remove(client: Any, *, which: Callable[[dict[str, str]], bool]) -> list[str]:
    """Removes every container, network, volume and image of ours whose labels satisfy `which`; returns their names.

    In this order, since each may use the next. What goes away by itself meanwhile is no trouble.
    """
    removed: list[str] = []
    filters = {"label": SESSION}
    for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
        if which(container.labels):
            with contextlib.suppress(Exception):  # a container that is just being removed by somebody else
                container.remove(force=True, v=True)
                removed.append(f"container {container.name}")
    for network in client.networks.list(filters=filters):
        if which(network.attrs.get("Labels") or {}):
            with contextlib.suppress(Exception):
                network.remove()
                removed.append(f"network {network.name}")
    for volume in client.volumes.list(filters=filters):
        if which(volume.attrs.get("Labels") or {}):
            with contextlib.suppress(Exception):
                volume.remove(force=True)
                removed.append(f"volume {volume.name}")
    for image in client.images.list(all=True, filters=filters):
        if which(image.labels):
            with contextlib.suppress(Exception):
                client.images.remove(image.id, force=True)
                removed.append(f"image {image.short_id}")
    return removed


def _machine() -> str:
    """What tells this machine's pids from those of others: the boot, and the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"  # noqa: PTH115
    except OSError:
        return "?"
