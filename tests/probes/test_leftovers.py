"""Leftovers of real processes, with strangers at work at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from drainproof.probes import holdings
from drainproof.probes.leftovers import MOST_FILES, Baseline, Leftover, Leftovers

Start = Callable[..., "Process"]

PRELUDE = """
import multiprocessing, os, signal, socket, subprocess, sys, tempfile
from multiprocessing import resource_tracker, shared_memory
class make_memory:
    "Like SharedMemory, without its resource tracker, which takes seconds to end."
    def __init__(self):
        self.descriptor, self.path = tempfile.mkstemp(dir="/dev/shm")
        self.name = os.path.basename(self.path)
        os.ftruncate(self.descriptor, 4096)
    def unlink(self):
        os.unlink(self.path)
def go_on():
    print("ok", flush=True)
    sys.stdin.readline()
"""


class Process:
    """A process that does something, waits for a line, goes on, and ends."""

    def __init__(self, code: str, cwd: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, "TMPDIR": str(cwd)},
        )
        self.said = self.read()

    def read(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    @property
    def pids(self) -> list[int]:
        main = psutil.Process(self.popen.pid)
        return [main.pid, *(child.pid for child in main.children(recursive=True))]

    def go_on(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def finish(self) -> None:
        self.go_on()
        assert self.popen.wait(30) == 0

    def kill_tree(self) -> None:
        tree = [psutil.Process(pid) for pid in self.pids]
        for process in tree:
            process.kill()
        psutil.wait_procs(tree, timeout=30)
        self.popen.wait(30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[Process] = []

    def run(code: str) -> Process:
        started.append(Process(code, folder))
        return started[-1]

    yield run
    for process in started:
        if process.popen.poll() is None:
            process.kill_tree()
        process.popen.communicate()


def baseline(folder: Path) -> Baseline:
    return Baseline.take(tmp=folder)


def kinds(found: Leftovers) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in found.left]


def test_memory_that_the_target_leaves_is_found_and_removed(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start(
        "m = shared_memory.SharedMemory(create=True, size=4096)\n"
        "resource_tracker.unregister(m._name, 'shared_memory')\n"
        "print(m.name, flush=True); sys.stdin.readline()"
    )
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    assert found.left == (Leftover(kind="shared_memory", name=target.said, size=4096),)
    assert found
    assert Leftovers.from_json(found.to_json()) == found
    assert found.remove() == []
    assert not before.leftovers()


def test_what_strangers_make_is_no_leftover(start: Start, folder: Path, tmp_path: Path) -> None:
    before = baseline(folder)
    target = start("go_on()")
    stranger = start(
        "m = make_memory(); print(m.name, flush=True)\n"
        f"s = socket.socket(socket.AF_UNIX); s.bind({str(tmp_path / 's')!r})\n"
        "l = socket.create_server(('127.0.0.1', 0)); print(l.getsockname()[1], flush=True); sys.stdin.readline()"
    )
    port = stranger.read()
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    try:
        assert not found
        unattributed = {(one.kind, one.name) for one in found.unattributed}
        expected = {("shared_memory", stranger.said), ("unix_socket", str(tmp_path / "s")), ("port", port)}
        assert expected <= unattributed
    finally:
        (holdings.SHARED_MEMORY / stranger.said).unlink()


def test_what_somebody_else_still_uses_is_no_leftover(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start("m = make_memory(); print(m.name, flush=True); sys.stdin.readline()")
    user = start(f"m = open({str(holdings.SHARED_MEMORY / target.said)!r}); go_on()")
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    assert not found
    assert [(one.name, one.pids) for one in found.in_use] == [(target.said, (user.popen.pid,))]
    user.finish()
    left = before.leftovers()
    assert kinds(left) == [("shared_memory", target.said)]
    assert left.remove() == []


def test_what_the_tree_itself_still_uses_is_a_leftover(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start("m = make_memory(); print(m.name, flush=True); sys.stdin.readline()")
    before.note(pids=target.pids)
    left = before.leftovers(living=target.pids)
    assert [(one.name, one.pids) for one in left.left] == [(target.said, (target.popen.pid,))]
    assert left.remove() == []


def test_a_semaphore_of_a_killed_tree(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start("lock = multiprocessing.get_context('spawn').Lock(); print(lock._semlock.name, flush=True); input()")
    before.note(pids=target.pids)
    target.kill_tree()  # the resource tracker with it, which would have removed the semaphore
    found = before.leftovers()
    assert kinds(found) == [("semaphore", "sem." + target.said.lstrip("/"))]
    assert found.remove() == []
    assert not before.leftovers()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_semaphore_that_goes_with_its_owner(start: Start, folder: Path, context: str) -> None:
    before = baseline(folder)
    target = start(f"lock = multiprocessing.get_context({context!r}).Lock(); go_on()")
    tree = [psutil.Process(pid) for pid in target.pids]
    before.note(pids=target.pids)
    target.finish()
    psutil.wait_procs(tree, timeout=30)  # the resource tracker ends after its parent
    assert not before.leftovers()


def test_sockets_with_absolute_and_relative_paths(start: Start, folder: Path, tmp_path: Path) -> None:
    before = baseline(folder)
    target = start(
        f"os.chdir({str(tmp_path)!r})\n"
        f"sockets = [socket.socket(socket.AF_UNIX) for _ in range(4)]\n"
        f"for s, name in zip(sockets, [{str(tmp_path / 'absolute')!r}, 'relative', 'tidy', chr(0) + 'abstract']):\n"
        "    s.bind(name); s.listen()\n"
        "go_on(); os.unlink('tidy')"
    )
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    assert kinds(found) == [("unix_socket", str(tmp_path / name)) for name in ("absolute", "relative")]
    assert found.remove() == []
    assert not (tmp_path / "relative").exists()
    assert not before.leftovers()


def test_a_socket_that_somebody_else_has_taken_over(start: Start, folder: Path, tmp_path: Path) -> None:
    before = baseline(folder)
    bind = f"s = socket.socket(socket.AF_UNIX); s.bind({str(tmp_path / 's')!r}); s.listen(); go_on()"
    target = start(bind)
    before.note(pids=target.pids)
    target.finish()
    (tmp_path / "s").unlink()
    other = start(bind)
    found = before.leftovers()
    assert not found
    assert [one.pids for one in found.in_use] == [(other.popen.pid,)]


def test_files_and_empty_folders_in_the_tmpdir(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start(
        "os.makedirs(tempfile.gettempdir() + '/full/empty')\n"
        "open(tempfile.gettempdir() + '/full/file', 'w').write('12345')\n"
        "s = socket.socket(socket.AF_UNIX); s.bind(tempfile.gettempdir() + '/socket'); go_on()"
    )
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    assert {(one.kind, one.name, one.size) for one in found.left if one.kind == "file"} == {
        ("file", "full/file", 5),
        ("file", "full/empty/", (folder / "full" / "empty").stat().st_size),
    }
    assert [one.name for one in found.left if one.kind == "unix_socket"] == [str(folder / "socket")]


def test_a_flood_of_files_is_counted(folder: Path) -> None:
    before = baseline(folder)
    for number in range(MOST_FILES + 7):
        (folder / str(number)).touch()
    found = before.leftovers()
    assert (len(found.left), found.more_files) == (MOST_FILES, 7)


def test_a_port_that_a_process_outside_of_the_tree_keeps_open(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start(
        "l = socket.create_server(('127.0.0.1', 0)); os.set_inheritable(l.fileno(), True)\n"
        "print(l.getsockname()[1], flush=True); sys.stdin.readline()\n"
        "heir = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0, close_fds=False)\n"
        "print(heir.pid, flush=True); os._exit(0)"
    )
    before.note(pids=target.pids)
    target.go_on()
    heir = psutil.Process(int(target.read()))
    assert target.popen.wait(30) == 0
    try:
        found = before.leftovers()
        assert found.left == (Leftover(kind="port", name=target.said, pids=(heir.pid,)),)
    finally:
        heir.kill()


def test_a_tidy_target_leaves_nothing(start: Start, folder: Path) -> None:
    before = baseline(folder)
    target = start("l = socket.create_server(('127.0.0.1', 0)); m = make_memory(); go_on(); m.unlink()")
    before.note(pids=target.pids)
    target.finish()
    found = before.leftovers()
    assert not found
    assert found.left == ()


def test_processes_are_left_alone_while_nothing_new_exists(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = baseline(folder)
    target = start("m = make_memory(); print(m.name, flush=True); sys.stdin.readline(); m.unlink()")
    before.note(pids=target.pids)
    looked = []
    monkeypatch.setattr(holdings, "shared_memory", lambda: {**dict.fromkeys(before._memory.ours, target.said)})
    monkeypatch.setattr(holdings, "unix_sockets", dict)
    monkeypatch.setattr("drainproof.probes.leftovers._ports", dict)
    monkeypatch.setattr(holdings, "of_process", lambda **kw: looked.append(kw))
    before.note(pids=target.pids)
    assert looked == []
    monkeypatch.undo()
    target.finish()
