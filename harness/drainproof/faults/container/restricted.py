"""The container runs as the restricted profile of many clusters wants it: not as root, on a root that is read-only.

`/tmp` is a tmpfs, as an `emptyDir` would be there. A user that the image or the manifest names is kept, unless it is
root; else it is 65534 (nobody), to whom nothing in the image belongs.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drainproof.faults.bench import Bench, Trigger
from drainproof.faults.container.common import container_of, only_in_containers
from drainproof.target.container.engine import speaking
from drainproof.target.container.launcher import ContainerLauncher
from drainproof.target.description import Target

NOBODY = "65534:65534"

TMPFS = {"/tmp": "rw,exec,mode=1777"}
"""Docker would have it without `exec`, an `emptyDir` is not."""


@dataclass(frozen=True, kw_only=True)
class Restricted:
    """From the launch on; nothing is injected."""

    def check(self, target: Target) -> None:
        """Raises Unsupported where the target is not launched in a container."""
        only_in_containers(target)

    def prepare(self, bench: Bench) -> None:
        """Adds the options to the launch."""
        bench.options.update(read_only=True, tmpfs=TMPFS)
        if _is_root(_declared_user(bench)):
            bench.options["user"] = NOBODY

    def describe(self) -> dict[str, Any]:
        """The condition as JSON values."""
        return {"kind": "restricted"}

    def arm(self, bench: Bench) -> Trigger:
        """What the kernel shows is read now; at the end nobody may be there to look at."""
        users, mounted = _users(bench), _root_mount(bench.running.pid)
        return lambda: self._proof(bench, users, mounted)

    def _proof(self, bench: Bench, users: set[int], mounted: str | None) -> dict[str, Any]:
        container = container_of(bench).container
        with speaking("looked at how the container was started"):
            container.reload()
        user = container.attrs["Config"]["User"]
        read_only = container.attrs["HostConfig"]["ReadonlyRootfs"] and mounted in (None, "ro")
        return {
            **self.describe(),
            "t": bench.running.started,
            "proven": bool(read_only and not _is_root(user) and 0 not in users),
            "because": f"it was started as user {user}, its root file system mounted {mounted or 'read-only'}"
            + (f"; its processes ran as {', '.join(map(str, sorted(users)))}" if users else ""),
        }


def _declared_user(bench: Bench) -> str:
    """The manifest's, or else the image's."""
    declared = bench.target.container.user if bench.target.container else None
    if declared is None and isinstance(bench.launcher, ContainerLauncher):
        return bench.launcher.image.user
    return declared or ""


def _is_root(user: str) -> bool:
    return user.partition(":")[0] in ("", "0", "root")


def _users(bench: Bench) -> set[int]:
    """The effective users of its processes, as they are called inside (an engine may map them)."""
    found: set[int] = set()
    for process in bench.running.processes():
        with contextlib.suppress(OSError):
            folder = Path(f"/proc/{process.pid}")
            lines = (folder / "status").read_text(errors="replace").splitlines()
            outside = int(next(line for line in lines if line.startswith("Uid:")).split()[2])
            for line in (folder / "uid_map").read_text().splitlines():
                inner, outer, count = map(int, line.split())
                if outer <= outside < outer + count:
                    found.add(inner + outside - outer)
    return found


def _root_mount(pid: int) -> str | None:
    """`ro` or `rw`; None where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/mountinfo").read_text(errors="replace").splitlines():
            columns = line.split()
            if columns[4] == "/":
                return columns[5].split(",")[0]
    return None
