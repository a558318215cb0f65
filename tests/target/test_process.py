"""The launcher, through real processes that behave as badly as servers do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from drainproof.errors import CommandNotStarted, HarnessError
from drainproof.target import keeper_link, tree
from drainproof.target.process import launch_command

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"

DAEMON = """
import os, time
if os.fork() == 0:                       # the classical daemon: forks twice, leaves group and session, closes all
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        with open("daemon.pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("daemon.pid.new", "daemon.pid")
        time.sleep(600)
    os._exit(0)
os.wait()
"""


def soon() -> float:
    return time.monotonic() + 20.0


def texts(records, stream="stdout"):
    return [record["text"] for record in records if record.get("stream") == stream and "text" in record]


def alive(process):
    """Whether it runs. The orphans of a killed keeper belong to init, which may leave zombies for a while."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


# -- how it ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 143])
def test_exit_codes(start, code):
    status = start(f"import sys; sys.exit({code})").wait_exit(until=soon())
    assert (status.code, status.signal, status.shell_code) == (code, None, code)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_ends_by_signals(start, signum):
    status = start(f"import os; os.kill(os.getpid(), {signum.value})").wait_exit(until=soon())
    assert (status.code, status.signal, status.shell_code) == (None, signum, 128 + signum)


def test_an_immediate_end_is_seen_as_any_other(start):
    instance = start(["true"])
    status = instance.wait_exit(until=soon())
    assert status.code == 0
    assert status.time >= instance.started
    assert instance.wait_gone(until=soon()) >= status.time
    assert instance.processes() == []


def test_waiting_ends_at_the_given_moment(start):
    instance = start(SLEEPS)
    assert instance.exit_status() is None
    assert instance.wait_exit(until=time.monotonic() + 0.05) is None
    assert instance.wait_gone(until=time.monotonic() - 1.0) is None


def test_the_time_of_the_exit_is_the_kernels(start, tmp_path):
    code = "import os, time; f = os.open('note', 65); os.write(f, repr(time.monotonic()).encode()); os._exit(0)"
    late = []
    for _ in range(5):
        status = start(code).wait_exit(until=soon())
        late.append(status.time - float((tmp_path / "note").read_text()))
        (tmp_path / "note").unlink()
    assert min(late) >= 0.0
    assert min(late) < 0.05  # one undisturbed launch of five: the benchmark measures, this sees that it is no polling


def test_the_tree_is_gone_when_its_last_process_is(start, tmp_path):
    instance = start(
        "import os, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid(); time.sleep(0.3)\n"
        "f = os.open('note', 65); os.write(f, repr(time.monotonic()).encode()); os._exit(0)"
    )
    status = instance.wait_exit(until=soon())
    gone = instance.wait_gone(until=soon())
    last = float((tmp_path / "note").read_text())
    assert status.time < last <= gone < last + 1.0


# -- the tree ----------------------------------------------------------------------------------------------------------


def test_a_daemon_does_not_escape(start, tmp_path, eventually):
    instance = start(DAEMON)
    assert instance.wait_exit(until=soon()).code == 0
    eventually((tmp_path / "daemon.pid").exists)
    daemon = psutil.Process(int((tmp_path / "daemon.pid").read_text()))
    name = daemon.name()
    assert os.getsid(daemon.pid) != instance.pid
    assert instance.processes() == [daemon]
    assert instance.wait_gone(until=time.monotonic() + 0.05) is None
    instance.end()
    assert not daemon.is_running()
    assert instance.wait_gone(until=time.monotonic()) is not None
    assert instance.killed == [(daemon.pid, name)]


def test_zombies_are_no_processes(start, eventually):
    instance = start("import os, time\nif os.fork() == 0: os._exit(0)\nprint('forked', flush=True); time.sleep(600)")
    eventually(lambda: any(stat.state == "Z" for stat in tree.descendants(instance._link.keeper_pid)))
    assert [process.pid for process in instance.processes()] == [instance.pid]


def test_a_process_lives_on_when_only_its_first_thread_has_ended(start, eventually):
    instance = start(
        "import ctypes, threading, time\n"
        "threading.Thread(target=lambda: time.sleep(600)).start()\n"
        "ctypes.CDLL(None).syscall(60, 0)  # ends this thread alone"
    )
    if os.uname().machine != "x86_64":
        pytest.skip("the number of the system call is that of x86-64")
    eventually(lambda: (stat := tree.read_stat(instance.pid)) and stat.state == "Z")
    assert [process.pid for process in instance.processes()] == [instance.pid]
    assert instance.exit_status() is None


@pytest.mark.parametrize("leaves", ["", "    os.setsid()\n"], ids=["in its group", "in ever new sessions"])
def test_who_forks_all_the_time_is_ended_too(start, leaves, eventually):
    # Each process lives for less than a millisecond: whoever lists first and kills then never meets one.
    instance = start(
        "import os, time\nuntil = time.monotonic() + 30\n"
        "for _ in range(20):\n    if os.fork() == 0: break\n"
        "else: os.write(1, b'up\\n')\n"
        "while time.monotonic() < until:\n    if os.fork(): os._exit(0)\n" + leaves
    )
    eventually(lambda: instance.exit_status() and "up" in instance.tail())
    before = time.monotonic()
    instance.end()
    assert instance.wait_gone(until=time.monotonic()) - before < 10.0
    assert instance.problems == []


def test_end_may_be_called_again_and_from_anywhere(start):
    instance = start(SLEEPS)
    before = time.monotonic()
    instance.end()
    instance.end()
    assert time.monotonic() - before < 10.0
    assert instance.exit_status().signal == signal.SIGKILL
    assert instance.processes() == []
    with pytest.raises(ProcessLookupError):
        instance.send(signal.SIGTERM)
    with pytest.raises(ProcessLookupError):
        instance.send_group(signal.SIGTERM)


def test_files_are_kept_when_only_the_processes_are_ended(start, eventually):
    instance = start(
        "import os, time; open(os.environ['TMPDIR'] + '/left', 'w'); print('up', flush=True); time.sleep(600)"
    )
    eventually(lambda: "up" in instance.tail())
    instance.end_processes()
    assert instance.wait_gone(until=time.monotonic()) is not None
    assert [path.name for path in instance.tmp.iterdir()] == ["left"]
    instance.end()
    assert not instance.tmp.exists()


# -- what the target is born with --------------------------------------------------------------------------------------


def test_the_target_sees_a_clean_process(start, output):
    instance = start(
        "import os, sys\n"
        "print(os.getsid(0) == os.getpgid(0) == os.getpid())\n"
        "print(sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])\n"  # the last one is the listing's own
        "print(os.readlink('/proc/self/fd/0'), os.path.basename(os.getcwd()))\n"
        "print(*[l for l in open('/proc/self/status').read().splitlines() if l.startswith(('SigIgn', 'SigBlk'))])"
    )
    instance.wait_output(until=soon())
    session, descriptors, rest, signals = texts(output())
    assert session == "True"
    assert descriptors == "[0, 1, 2]"
    assert rest == f"/dev/null {Path.cwd().name}" or rest.startswith("/dev/null ")
    ignored = int(signals.split()[1 if signals.startswith("SigIgn") else 3], 16)
    blocked = int(signals.split()[3 if signals.startswith("SigIgn") else 1], 16)
    assert blocked == 0
    assert ignored & ~(1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0  # Python itself ignores these two


def test_signals_that_the_harness_ignores_or_blocks_are_at_their_default(tmp_path):
    script = f"""
import signal, time
from pathlib import Path
from drainproof.target.process import launch_command
for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
    signal.signal(each, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
for each in (signal.SIGINT, signal.SIGTERM):
    with launch_command(command=["sleep", "600"], environment={{}}, working_directory=Path("/"),
                        output=Path({str(tmp_path)!r}) / "o") as instance:
        instance.send(each)
        print(instance.wait_exit(until=time.monotonic() + 20).signal)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["2", "15"]


def test_the_environment_is_ours_without_pytests_and_with_what_is_declared(start, output, monkeypatch):
    monkeypatch.setenv("COVERAGE_PROCESS_START", "/somewhere")
    monkeypatch.setenv("OF_THE_USER", b"\xff\xe4".decode("utf-8", "surrogateescape"))
    assert "PYTEST_CURRENT_TEST" in os.environ
    instance = start(
        "import os\nfor name in ('OF_THE_USER', 'DECLARED', 'TMPDIR', 'PYTHONUNBUFFERED', 'PATH'):\n"
        "    print(ascii(os.environ.get(name)))\n"
        "print([n for n in os.environ if n.startswith(('PYTEST_', 'COVERAGE_'))], 'DRAINPROOF_INSTANCE' in os.environ)",
        environment={"DECLARED": "schön\n"},
    )
    instance.wait_output(until=soon())
    assert texts(output()) == [
        r"'\udcff\udce4'",
        r"'sch\xf6n\n'",
        ascii(str(instance.tmp)),
        ascii(os.environ.get("PYTHONUNBUFFERED")),
        ascii(os.environ["PATH"]),
        "[] True",
    ]


def test_tmpdir_is_its_own_and_goes_with_it(start, eventually):
    instance = start(
        "import os, time\ntmp = os.environ['TMPDIR']\nassert os.stat(tmp).st_mode & 0o777 == 0o700\n"
        "os.makedirs(tmp + '/a/b'); open(tmp + '/a/b/file', 'w').close(); os.symlink('/etc', tmp + '/link')\n"
        "os.chmod(tmp + '/a/b', 0); os.chmod(tmp + '/a', 0)\nprint('made', flush=True); time.sleep(600)"
    )
    eventually(lambda: "made" in instance.tail())
    assert instance.tmp.is_dir()
    instance.end()
    assert not instance.tmp.exists()
    assert Path("/etc/passwd").exists()


def test_two_targets_do_not_share_anything(start, tmp_path):
    one = start(SLEEPS, output=tmp_path / "1")
    two = start(SLEEPS, output=tmp_path / "2")
    assert one.tmp != two.tmp
    one.end()
    assert [process.pid for process in two.processes()] == [two.pid]
    assert two.tmp.exists()


def test_shared_memory_of_who_had_to_be_killed_is_unlinked(start, eventually):
    mine = Path("/dev/shm") / f"drainproof-test-{uuid.uuid4().hex}"
    theirs = Path("/dev/shm") / f"drainproof-test-{uuid.uuid4().hex}"
    mine.write_bytes(b"was there before")
    try:
        instance = start(
            "import mmap, time\n"
            f"theirs = open({str(theirs)!r}, 'w+b'); theirs.write(bytes(4096)); theirs.flush()\n"
            "mapped = mmap.mmap(theirs.fileno(), 4096); theirs.close()\n"
            f"mine = open({str(mine)!r}); print('made', flush=True); time.sleep(600)"
        )
        eventually(lambda: "made" in instance.tail())
        instance.end()
        assert mine.exists()
        assert not theirs.exists()
    finally:
        mine.unlink()
        theirs.unlink(missing_ok=True)


def test_a_named_semaphore_of_who_had_to_be_killed_is_unlinked(start, eventually):
    # Its maker's memory map shows it under a name that was deleted, see `probes.holdings`.
    before = {path.name for path in Path("/dev/shm").glob("sem.*")}
    instance = start(
        "import _multiprocessing, os, time\n"
        "name = f'/drainproof-{os.getpid()}'\n"
        "semaphore = _multiprocessing.SemLock(1, 1, 1, name, False)\n"
        "print('made', name, flush=True); time.sleep(600)"
    )
    eventually(lambda: "made" in instance.tail())
    name = f"sem.drainproof-{instance.pid}"
    assert (Path("/dev/shm") / name).exists()
    instance.end()
    assert name not in {path.name for path in Path("/dev/shm").glob("sem.*")} - before


# -- signals -----------------------------------------------------------------------------------------------------------


def test_a_signal_to_the_main_process_does_not_reach_the_group(start, eventually):
    instance = start("import os, time\nos.fork(); os.write(1, b'up\\n'); time.sleep(600)")
    eventually(lambda: instance.tail().count("up") == 2)
    instance.send(signal.SIGTERM)
    assert instance.wait_exit(until=soon()).signal == signal.SIGTERM
    assert len(instance.processes()) == 1
    with pytest.raises(ProcessLookupError):
        instance.send(signal.SIGTERM)
    instance.send_group(signal.SIGTERM)  # the group lives on in the child
    assert instance.wait_gone(until=soon()) is not None
    with pytest.raises(ProcessLookupError):
        instance.send_group(signal.SIGTERM)


def test_a_target_that_signals_its_parent_ends_nothing(start):
    instance = start("import os, signal\nfor s in (15, 2, 1, 3, 10, 12): os.kill(os.getppid(), s)\nprint('done')")
    assert instance.wait_exit(until=soon()).code == 0
    assert instance.wait_output(until=soon())
    assert instance.tail() == "done"


# -- what cannot be started --------------------------------------------------------------------------------------------


def test_commands_that_cannot_be_started_say_why(start, tmp_path):
    (tmp_path / "plain").write_text("text")
    (tmp_path / "no-interpreter").write_text("#!/nowhere/python\n")
    (tmp_path / "no-line").write_text("\0text")
    for name in ("no-interpreter", "no-line"):
        (tmp_path / name).chmod(0o755)
    tmp = tmp_path / "tmp"
    for command, reason in {
        ("no-such-command",): "'no-such-command' was not found in any folder of its PATH (/usr/bin:/nowhere)",
        ("./nothing",): "'./nothing' does not exist",
        ("./plain",): "'./plain' is not executable: chmod +x it",
        ("./no-interpreter",): "the interpreter that its first line names does not",
        ("./no-line",): "neither a program nor a script with a '#!' line",
        ("a\0b",): "NUL",
        (): "the command is empty",
    }.items():
        with pytest.raises(CommandNotStarted) as raised:
            start(list(command), environment={"PATH": "/usr/bin:/nowhere"}, name="my-server", tmp=tmp)
        assert reason in str(raised.value)
        assert str(raised.value).startswith("my-server: ")
        assert not tmp.exists()
    with pytest.raises(CommandNotStarted, match="working directory '/nowhere' cannot be entered: No such file"):
        start(["true"], working_directory=Path("/nowhere"))


def test_a_relative_command_is_found_from_the_working_directory(start, tmp_path):
    (tmp_path / "server").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "server").chmod(0o755)
    assert start(["./server"]).wait_exit(until=soon()).code == 7


def test_output_that_cannot_be_written_at_all_is_the_harness_failure(start, tmp_path):
    with pytest.raises(HarnessError, match="nowhere"):
        start(["true"], output=tmp_path / "nowhere" / "output.jsonl")
    with pytest.raises(HarnessError, match="exists"):
        start(["true"], tmp=Path("/usr"))
    assert Path("/usr/bin").is_dir()


# -- the death of pytest, and of the keeper ----------------------------------------------------------------------------

HARNESS = """
import os, sys, threading, time
from pathlib import Path
from drainproof.target.process import launch_command
TARGET = '''
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid(); os.closerange(0, 3)
        if os.fork(): os._exit(0)
        time.sleep(600)
print("up", flush=True)
time.sleep(600)
'''
folder = Path(sys.argv[1])
if "holds-the-socket-open" in sys.argv:      # a child that outlives us and has inherited everything
    import socket
    made = socket.socketpair
    def inheritable():
        pair = made()
        pair[0].set_inheritable(True)
        return pair
    socket.socketpair = inheritable
os.write(1, b"starting\\n")
instance = launch_command(command=[sys.executable, "-I", "-S", "-c", TARGET], environment={}, working_directory=folder,
                          output=folder / "output.jsonl")
if "holds-the-socket-open" in sys.argv:
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "20"])
os.write(1, (str(instance.tmp) + "\\n").encode())
time.sleep(600)
"""


def born_with(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TEST_MARK={mark}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.04, 0.06, 0.1, None])
def test_nothing_outlives_a_killed_pytest(tmp_path, delay, eventually):
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TEST_MARK": mark, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    ) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"starting\n"
        if delay is None:
            tmp = Path(harness.stdout.readline().decode().strip())
            assert tmp.parent == tmp_path
            eventually(lambda: len(born_with(mark)) == 6)  # harness, keeper, target and three that have left it
        else:
            time.sleep(delay)
        os.killpg(harness.pid, signal.SIGKILL)
    eventually(lambda: not born_with(mark), within=5.0)
    assert not list(tmp_path.glob("dp-*"))


def test_the_death_of_pytest_is_seen_though_somebody_holds_the_socket(tmp_path, eventually):
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(tmp_path), "holds-the-socket-open"],
        stdout=subprocess.PIPE,
        env={**os.environ, "TEST_MARK": mark, "TMPDIR": str(tmp_path)},
    ) as harness:
        assert harness.stdout is not None
        harness.stdout.readline()
        harness.stdout.readline()
        harness.kill()
    holder = eventually(lambda: len(found := born_with(mark)) == 1 and found[0], within=5.0)
    eventually(lambda: psutil.Process(holder).name() == "sleep")
    os.kill(holder, signal.SIGKILL)


def test_a_killed_keeper_is_replaced_by_a_sweep(start, tmp_path, eventually):
    instance = start(
        "import os, time, signal\nif os.fork() == 0:\n    os.setsid(); time.sleep(600)\n"
        "open('ready', 'w'); time.sleep(600)"
    )
    eventually((tmp_path / "ready").exists)
    tree_before = eventually(lambda: len(found := instance.processes()) == 2 and found)
    os.kill(instance._link.keeper_pid, signal.SIGKILL)
    with pytest.raises(HarnessError, match="keeper of target was killed"):
        instance.wait_exit(until=soon())
    assert not any(alive(process) for process in tree_before)
    with pytest.raises(HarnessError):
        instance.processes()
    assert not instance.tmp.exists()
    instance.end()


def test_a_keeper_that_fails_leaves_nothing_and_says_why(start, tmp_path, eventually):
    instance = start(DAEMON + "time.sleep(600)")
    eventually((tmp_path / "daemon.pid").exists)
    tree_before = instance.processes()
    assert len(tree_before) == 2
    instance._link.tell({"do": "start"})  # without what a start needs
    with pytest.raises(HarnessError, match="KeyError: 'parent'"):
        instance.wait_gone(until=soon())
    assert not any(alive(process) for process in tree_before)


def test_launches_leave_no_descriptors_and_no_threads(start):
    start(["true"]).end()

    def ours():
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = ours()
    for _ in range(3):
        start(SLEEPS).end()
        with pytest.raises(CommandNotStarted):
            start(["no-such-command"])
    assert ours() == before


def test_many_instances_at_once(start, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        instances = list(pool.map(lambda n: start(["sleep", "600"], output=tmp_path / str(n)), range(8)))
        assert len({instance.pid for instance in instances}) == 8
        for instance in instances:
            instance.send(signal.SIGTERM)
        assert {each.wait_exit(until=soon()).signal for each in instances} == {signal.SIGTERM}
        list(pool.map(lambda instance: instance.end(), instances))


def test_a_keeper_that_is_stopped_does_not_stop_us(start, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper_link, "_END", 0.5)
    instance = start(
        "import os, signal, time; os.kill(os.getppid(), signal.SIGSTOP); open('done', 'w'); time.sleep(600)"
    )
    target = psutil.Process(instance.pid)
    instance.end()
    assert not alive(target)
    assert not instance.tmp.exists()


def test_an_exception_in_a_launch_leaves_nothing(tmp_path, monkeypatch):
    tmp = tmp_path / "tmp"
    monkeypatch.setattr(keeper_link, "_START", -1.0)
    with pytest.raises(HarnessError, match="no answer"):
        launch_command(
            command=["sleep", "600"], environment={}, working_directory=tmp_path, output=tmp_path / "o", tmp=tmp
        )
    assert not tmp.exists()


# -- the kind of the main process --------------------------------------------------------------------------------------

SERVER = "import socket, time; s = socket.create_server(('127.0.0.1', PORT)); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ([sys.executable, "-c", SERVER], ("server", "holds the listener")),
        (["sh", "-c", f'"{sys.executable}" -c "{SERVER}"; true'], ("shell", "is a shell")),
        (["sh", "-c", f'exec "{sys.executable}" -c "{SERVER}"'], ("server", "holds the listener")),
        (["env", "-u", "X", sys.executable, "-c", SERVER], ("server", "holds the listener")),
        (["timeout", "600", sys.executable, "-c", SERVER], ("wrapper", "(timeout) is a wrapper")),
        ([sys.executable, "-c", "import os, time\nif os.fork(): time.sleep(600)\n" + SERVER], ("server", "supervises")),
    ],
    ids=["server", "shell", "shell with exec", "wrapper that execs", "wrapper", "supervisor with one worker"],
)
def test_kind_of_main(start, eventually, port, command, expected):
    instance = start([part.replace("PORT", str(port)) for part in command], ports={"http": port})
    eventually(lambda: "up" in instance.tail())
    found = instance.kind_of_main()
    assert found.kind == expected[0]
    assert expected[1] in found.sentence
