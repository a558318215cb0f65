"""Control groups as both versions show them, in folders that stand for /proc and /sys/fs/cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from drainproof.target.container import cgroup

CONTAINER = "0123456789abcdef" * 4

V1 = f"""\
12:pids:/docker/{CONTAINER}
11:cpu,cpuacct:/docker/{CONTAINER}
10:memory:/docker/{CONTAINER}
1:name=systemd:/docker/{CONTAINER}
"""

V2 = f"0::/system.slice/docker-{CONTAINER}.scope\n"

HYBRID = f"3:freezer:/docker/{CONTAINER}\n0::/docker/{CONTAINER}\n"


class Machine:
    """A /proc and a mount of control groups."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.mount = folder / "proc", folder / "cgroup"
        self.proc.mkdir()
        self.mount.mkdir()

    def process(self, pid: int, groups: str) -> None:
        (self.proc / str(pid)).mkdir()
        (self.proc / str(pid) / "cgroup").write_text(groups)

    def group(self, path: str, *pids: int) -> Path:
        folder = self.mount / path
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return folder

    def folder(self, pid: int, controller: str | None = None) -> Path | None:
        return cgroup.folder(pid=pid, controller=controller, mount=self.mount, proc=self.proc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_version_1(machine):
    machine.process(7, V1)
    pids = machine.group(f"pids/docker/{CONTAINER}", 7, 8)
    memory = machine.group(f"memory/docker/{CONTAINER}", 7, 8)
    assert machine.folder(7) == pids
    assert machine.folder(7, "memory") == memory
    assert machine.folder(7, "cpuacct") is None, "it is not mounted"


def test_version_2(machine):
    machine.process(7, V2)
    group = machine.group(f"system.slice/docker-{CONTAINER}.scope", 7, 8)
    assert machine.folder(7) == machine.folder(7, "memory") == group


def test_both_versions_side_by_side(machine):
    machine.process(7, HYBRID)
    group = machine.group(f"unified/docker/{CONTAINER}", 7)
    assert machine.folder(7) == group


def test_no_folder(machine):
    """A process that has ended, and one whose group is mounted nowhere."""
    assert machine.folder(7) is None
    machine.process(7, V1)
    assert machine.folder(7) is None


def test_a_group_of_a_namespace_of_ones_own_is_found_by_its_processes(machine):
    """Where we are in a container ourselves, /proc names groups by paths that lead out of what we see."""
    elsewhere = f"0::/../{CONTAINER}\n"
    for pid in (7, 9):
        machine.process(pid, elsewhere)
    machine.process(8, "0::/\n")
    (machine.proc / "self").mkdir()
    assert machine.folder(7) is None
    assert cgroup.members_by_name(container=CONTAINER, proc=machine.proc) == [7, 9]


def test_members_include_those_of_groups_below(machine):
    group = machine.group("pids/docker/x", 7)
    machine.group("pids/docker/x/inner", 9, 8)
    assert cgroup.members(group) == [7, 8, 9]


def test_members_leave_out_who_is_in_another_pid_namespace(machine):
    assert cgroup.members(machine.group("x", 0, 5)) == [5]


def test_members_of_a_group_that_is_gone(tmp_path):
    assert cgroup.members(tmp_path / "gone") == []


def test_who_belongs(machine):
    machine.process(7, V2)
    machine.process(8, "0::/user.slice\n")
    assert cgroup.belongs(pid=7, container=CONTAINER, proc=machine.proc)
    assert not cgroup.belongs(pid=8, container=CONTAINER, proc=machine.proc)
    assert not cgroup.belongs(pid=9, container=CONTAINER, proc=machine.proc)


def test_this_machine():
    """The real thing: where control groups are mounted, this process is in the one that is found."""
    group = cgroup.folder(pid=os.getpid())
    if group is None:
        pytest.skip("this machine shows its control groups to nobody here")
    assert os.getpid() in cgroup.members(group)
