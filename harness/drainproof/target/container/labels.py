"""The labels of everything that we make in an engine, and what is removed by them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial
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
    So is one of another user where /proc hides those (mounted with `hidepid`).

    A zombie does not: it was killed, and nobody has asked how it ended.
    """
    machine, _, rest = value.partition("/")
    pid, _, birth = rest.partition("/")
    if machine != _machine() or not pid.isdecimal():
        return True
    stat = tree.read_stat(int(pid))
    if stat is None:
        return _is_there(int(pid))
    return stat.alive and str(stat.birth) == birth


def _is_there(pid: int) -> bool:
    """Whether the kernel knows a process that /proc does not show us: then it is not ours to say that it has ended."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def of(session: str) -> dict[str, str]:
    """The labels for an object of this process's session."""
    return {SESSION: session, OWNER: owner(os.getpid())}


def remove(client: Any, *, which: Callable[[dict[str, str]], bool]) -> list[str]:
    """Removes every container, network, volume and image of ours whose labels satisfy `which`; returns what it found.

    Not all of that need be gone: who wants to know looks again, until nothing is found.

    In this order, since each may use the next. What goes away by itself meanwhile is no trouble: other sessions end
    while this one looks. So the engine's lists are asked, and not the SDK's, which inspect each object and raise for
    one that is gone.

    Asked for by the owner: a build sets one label after the other, in that order, each in a layer of its own, and one
    that is broken off may leave a layer with the first label alone.
    """
    api, filters = client.api, {"label": OWNER}
    kinds: list[tuple[str, str, Any, Callable[[str], Any]]] = [
        (
            "container",
            "Id",
            api.containers(all=True, filters=filters),
            partial(api.remove_container, v=True, force=True),
        ),
        ("network", "Id", api.networks(filters=filters), api.remove_network),
        ("volume", "Name", api.volumes(filters=filters)["Volumes"] or (), partial(api.remove_volume, force=True)),
        ("image", "Id", api.images(all=True, filters=filters), partial(api.remove_image, force=True)),
    ]
    theirs: list[str] = []
    for kind, key, found, end in kinds:
        for each in found:
            if which(each.get("Labels") or {}):
                theirs.append(f"{kind} {each[key]}")
                with contextlib.suppress(Exception):  # one that somebody else is just removing, or that is busy
                    end(each[key])
    return theirs


def _machine() -> str:
    """What tells this machine's pids from those of others: the boot, and the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"  # noqa: PTH115
    except OSError:
        return "?"
