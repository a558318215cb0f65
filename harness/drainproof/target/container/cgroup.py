"""Control groups: which processes belong to a container, whoever started them. Both versions of cgroups.

A command that is executed in a container (a preStop hook) is no descendant of its PID 1, but it is in its group.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")

ASKED = ("pids", "memory", "cpu", "devices", "systemd")
"""Controllers of version 1, any of which has a list of the processes."""


def belongs(*, pid: int, container: str) -> bool:
    """Whether the process `pid` of this machine is in the container with that id.

    So the engine runs on this machine: one that runs elsewhere, or in another PID namespace, tells a pid that is
    nobody's or somebody else's here.
    """
    with contextlib.suppress(OSError):
        return container in Path(f"/proc/{pid}/cgroup").read_text()
    return False


def folder(*, pid: int, controller: str | None = None) -> Path | None:
    """The folder of the group that a process is in, of that controller in version 1; None where it cannot be found."""
    with contextlib.suppress(OSError):
        groups: dict[str, str] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.removeprefix("name=").split(","), path.lstrip("/")))
        for name in (controller,) if controller else ASKED:
            if groups.get(name):
                found = MOUNT / name / groups[name]
                if (found / "cgroup.procs").exists():
                    return found
        for root in (MOUNT, MOUNT / "unified"):
            if groups.get("") and (root / groups[""] / "cgroup.procs").exists():
                return root / groups[""]
    return None


def members(group: Path) -> list[int]:
    """The pids of the processes in a group and in the groups below it; empty where it is gone."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for file in group.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in file.read_text().split())
    return sorted(found - {0})
