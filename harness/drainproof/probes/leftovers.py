"""What a target leaves behind: shared memory, semaphores, Unix sockets, temporary files, listening ports.

Whose is it?
    A busy machine makes and removes such things all the time, so "new since the launch" proves nothing. Only what was
    seen in the hands of a process of the target's tree counts, and only if it exists when the tree is gone and nobody
    else uses it. So the sampler calls `note` again and again while the tree lives. Everything else that is new is
    listed apart, as unattributed: a target can make something and end so fast that nobody sees it do so, and that must
    not become a false alarm about somebody else's.
    The TMPDIR is the target's own, so whatever is in it was made by it.
    Lost: judging by owner and time (several runs of one user at once), by names with a pid in them (containers that
    share /dev/shm have pids of their own), fanotify (says who made a file, but only to root).
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from drainproof.probes import holdings, sockets

Kind = Literal["shared_memory", "semaphore", "unix_socket", "file", "port"]

MOST_FILES = 100
"""So many files of the TMPDIR are listed; the others are counted."""

_LOOK_AGAIN = 1.0
"""Seconds after which something that was not in the tree's hands is looked for in them once more."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """One thing that is left."""

    kind: Kind
    name: str
    """Below /dev/shm, below the TMPDIR, the path of a socket, or the number of a port."""
    size: int | None = None
    pids: tuple[int, ...] = ()
    """Living processes that use it."""

    def __str__(self) -> str:
        used = f", used by {', '.join(map(str, self.pids))}" if self.pids else ""
        return f"{self.kind.replace('_', ' ')} {self.name}" + used


@dataclass(frozen=True, kw_only=True)
class Leftovers:
    """What is left. Only `left` says something about the target; falsy where that is empty."""

    left: tuple[Leftover, ...] = ()
    more_files: int = 0
    """Files in the TMPDIR beyond those listed."""
    in_use: tuple[Leftover, ...] = ()
    """Was in the target's hands, but processes outside of its tree use it."""
    unattributed: tuple[Leftover, ...] = ()
    """New since the launch, and never seen in the target's hands."""
    _removers: tuple[Callable[[], None], ...] = field(default=(), repr=False, compare=False)

    def __bool__(self) -> bool:
        return bool(self.left)

    def remove(self) -> list[str]:
        """Removes the shared memory, semaphores and sockets among `left`; returns what could not be removed, and why.

        Files go with the TMPDIR, and a port with the process that holds it.
        """
        problems = []
        for remove in self._removers:
            try:
                remove()
            except OSError as error:
                problems.append(str(error))
        return problems

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`, except for `remove`."""
        lists = {name: [asdict(one) for one in getattr(self, name)] for name in ("left", "in_use", "unattributed")}
        return {**lists, "more_files": self.more_files}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Leftovers:
        """Reads what `to_json` wrote."""

        def read(name: str) -> tuple[Leftover, ...]:
            return tuple(Leftover(**{**one, "pids": tuple(one["pids"])}) for one in value[name])

        return cls(
            left=read("left"),
            in_use=read("in_use"),
            unattributed=read("unattributed"),
            more_files=value["more_files"],
        )


class _Things:
    """Inodes of one sort: which were there before, which are the target's, which of the others are due for a look."""

    def __init__(self, before: Collection[int]) -> None:
        self.before = frozenset(before)
        self.ours: dict[int, str] = {}
        self._looked: dict[int, float] = {}

    def due(self, now: Iterable[int]) -> set[int]:
        t = time.monotonic()
        new = {inode for inode in now if inode not in self.before and inode not in self.ours}
        return {inode for inode in new if t - self._looked.get(inode, float("-inf")) >= _LOOK_AGAIN}

    def looked(self, inodes: Iterable[int]) -> None:
        self._looked.update(dict.fromkeys(inodes, time.monotonic()))

    def strangers(self, now: Mapping[int, str]) -> list[str]:
        return sorted({name for inode, name in now.items() if inode not in self.before and inode not in self.ours})


class Baseline:
    """What there was before the launch, and from then on what the target was seen to hold.

    `note` may be called from one thread at a time; `leftovers` when that thread has ended.
    """

    def __init__(self, *, tmp: Path) -> None:
        self._tmp = tmp
        self._memory = _Things(holdings.shared_memory())
        self._unix = _Things(holdings.unix_sockets())
        self._ports = _Things(_ports())

    @classmethod
    def take(cls, *, tmp: Path) -> Baseline:
        """Call it before the launch. `tmp`: the target's own TMPDIR, which may not exist yet."""
        return cls(tmp=tmp)

    def note(self, *, pids: Collection[int]) -> None:
        """Looks what these processes hold. Costs little while nothing new exists on the machine."""
        memory, unix, ports = holdings.shared_memory(), holdings.unix_sockets(), _ports()
        due_memory, due_unix, due_ports = self._memory.due(memory), self._unix.due(unix), self._ports.due(ports)
        if not (due_memory or due_unix or due_ports):
            return
        for pid in pids:
            held = holdings.of_process(pid=pid, memory=bool(due_memory))
            self._memory.ours |= {inode: memory[inode] for inode in due_memory & held.shared_memory}
            self._ports.ours |= {inode: ports[inode] for inode in due_ports & held.sockets}
            self._unix.ours |= {inode: _absolute(unix[inode], pid) for inode in due_unix & held.sockets}
        for things, due in ((self._memory, due_memory), (self._unix, due_unix), (self._ports, due_ports)):
            things.looked(due)

    def leftovers(self, *, living: Collection[int] = ()) -> Leftovers:
        """What is left now. `living`: processes of the tree that are still there; they do not count as other users."""
        memory, unix, ports = holdings.shared_memory(), holdings.unix_sockets(), _ports()
        found = [*self._memory_left(memory), *self._unix_left(unix), *self._ports_left(ports)]
        users = _users({one.handle for one in found}) if found else {}
        left, in_use, removers = [], [], []
        for one in found:
            pids = users[one.handle]
            thing = replace(one.thing, pids=tuple(sorted(pids)))
            if pids - set(living) and thing.kind != "port":
                in_use.append(thing)
                continue
            left.append(thing)
            if one.remove is not None:
                removers.append(one.remove)
        known = {one.name for one in left + in_use}
        files, more = _files(self._tmp, skip=known)
        strangers = [
            *(_memory(name) for name in self._memory.strangers(memory)),
            *(Leftover(kind="unix_socket", name=name) for name in self._unix.strangers(unix)),
            *(Leftover(kind="port", name=name) for name in self._ports.strangers(ports)),
        ]
        return Leftovers(
            left=(*left, *files),
            more_files=more,
            in_use=tuple(in_use),
            unattributed=tuple(one for one in strangers if one.name not in known)[:MOST_FILES],
            _removers=tuple(removers),
        )

    def _memory_left(self, now: Mapping[int, str]) -> Iterator[_Found]:
        for inode in self._memory.ours:
            if inode in now:
                remove = _remover(holdings.SHARED_MEMORY / now[inode], inode)
                yield _Found(handle=("memory", inode), thing=_memory(now[inode]), remove=remove)

    def _unix_left(self, now: Mapping[int, str]) -> Iterator[_Found]:
        by_path = {path: inode for inode, path in self._unix.ours.items()}
        bound = {path: inode for inode, path in now.items()}
        for path, inode in sorted(by_path.items()):
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                if stat.S_ISSOCK(status.st_mode):
                    # Where somebody else has bound the path since, it is that socket which is in use.
                    yield _Found(
                        handle=("socket", bound.get(path, inode)),
                        thing=Leftover(kind="unix_socket", name=path),
                        remove=_remover(Path(path), status.st_ino),
                    )

    def _ports_left(self, now: Mapping[int, str]) -> Iterator[_Found]:
        for inode, port in self._ports.ours.items():
            if inode in now:
                yield _Found(handle=("socket", inode), thing=Leftover(kind="port", name=port))


_Handle = tuple[Literal["memory", "socket"], int]
"""What processes hold of a thing: sockets and files have inodes of their own kind each."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Something of the target's that is still there."""

    handle: _Handle
    thing: Leftover
    remove: Callable[[], None] | None = None


def _ports() -> dict[int, str]:
    return {one.inode: str(one.port) for one in sockets.HERE.listeners(ports=None)}


def _absolute(path: str, pid: int) -> str:
    """The path of a socket as seen from the working directory of the process that holds it."""
    try:
        return os.path.join(os.readlink(f"/proc/{pid}/cwd"), path)  # noqa: PTH115, PTH118
    except OSError:
        return path


def _memory(name: str) -> Leftover:
    """A file below /dev/shm; glibc puts `sem.` before the names of semaphores."""
    size = None
    with contextlib.suppress(OSError):
        size = (holdings.SHARED_MEMORY / name).stat().st_size
    if Path(name).name.startswith("sem."):
        return Leftover(kind="semaphore", name=name)
    return Leftover(kind="shared_memory", name=name, size=size)


def _remover(path: Path, inode: int) -> Callable[[], None]:
    def remove() -> None:
        """Unlinks the file, unless it is another one by now."""
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_ino == inode:
                path.unlink()

    return remove


def _users(handles: set[_Handle]) -> dict[_Handle, set[int]]:
    """Which processes of this machine use these sockets and files."""
    found: dict[_Handle, set[int]] = {handle: set() for handle in handles}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208
        held = holdings.of_process(pid=pid)
        for handle in handles:
            if handle[1] in (held.shared_memory if handle[0] == "memory" else held.sockets):
                found[handle].add(pid)
    return found


def _files(tmp: Path, *, skip: Collection[str]) -> tuple[list[Leftover], int]:
    """What is in the TMPDIR, empty folders included, and how many more there are than can be listed."""
    found: list[Leftover] = []
    more = 0
    for folder, folders, names in os.walk(tmp):
        empty = [""] if not folders and not names and Path(folder) != tmp else []
        for name in empty + sorted(names):
            path = Path(folder) / name
            if str(path) in skip:
                continue
            if len(found) == MOST_FILES:
                more += 1
                continue
            with contextlib.suppress(OSError):
                status = path.lstat()
                relative = str(path.relative_to(tmp))
                if stat.S_ISSOCK(status.st_mode):
                    found.append(Leftover(kind="unix_socket", name=relative))
                else:
                    found.append(Leftover(kind="file", name=relative + ("" if name else "/"), size=status.st_size))
    return found, more
