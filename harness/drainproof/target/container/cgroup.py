"""Control groups: which processes belong to a container, whoever started them. Both versions of cgroups.

A command that is executed in a container (a preStop hook) is no descendant of its PID 1, but it is in its group.

Where the group has no folder that we can see (drainproof is in a container itself, with a cgroup namespace of its own),
the processes are found the other way round: each says in /proc which group it is in.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
PROC = Path("/proc")

ASKED = ("pids", "memory", "cpu", "devices", "systemd")
"""Controllers of version 1, any of which has a list of the processes."""


def belongs(*, pid: int, container: str, proc: Path = PROC) -> bool:
    """Whether the process `pid` of this machine is in the container with that id.

    So the engine runs on this machine: one that runs elsewhere, or in another PID namespace, tells a pid that is
    nobody's or somebody else's here.
    """
    with contextlib.suppress(OSError):
        return container in (proc / str(pid) / "cgroup").read_text()
    return False


def folder(*, pid: int, controller: str | None = None, mount: Path = MOUNT, proc: Path = PROC) -> Path | None:
    """The folder of the group that a process is in, of that controller in version 1; None where it cannot be found."""
    with contextlib.suppress(OSError):
        groups: dict[str, str] = {}
        for line in (proc / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.removeprefix("name=").split(","), path.lstrip("/")))
        for name in (controller,) if controller else ASKED:
            if groups.get(name):
                found = mount / name / groups[name]
                if (found / "cgroup.procs").exists():
                    return found
        for root in (mount, mount / "unified"):
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


def members_by_name(*, container: str, proc: Path = PROC) -> list[int]:
    """The pids of the processes whose group is named after a container; slower, since all of them are asked."""
    pids = (int(process.name) for process in proc.iterdir() if process.name.isdecimal())
    return sorted(pid for pid in pids if belongs(pid=pid, container=container, proc=proc))
