"""The container launcher on a real engine: what it shows of containers, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from drainproof.errors import CommandNotStarted, HarnessError
from drainproof.load.plan import Request
from drainproof.target.container import labels
from drainproof.target.container.engine import address, connect
from drainproof.target.container.instance import ContainerInstance
from drainproof.target.container.launcher import ContainerLauncher
from drainproof.target.container_spec import ContainerSpec
from drainproof.target.description import Target
from drainproof.target.launcher import UNCHANGED, Changes
from drainproof.target.ports import reserve

from tests.real.dockerd import own_engine
from tests.real.engine import require_engine
from tests.real.relay import Relay
from tests.real.runs import BROKEN, ROOT, SERVERS, environment, pytest_command
from tests.real.runs import run as finished_run

pytestmark = pytest.mark.real

BASE = os.environ.get("BASE", "python:3.11-slim")
"""An image with Python and a shell."""

MOMENTS = int(os.environ.get("DRAINPROOF_MOMENTS", "5"))
"""How many random moments pytest is killed at."""

PATIENCE = 90.0
"""Seconds for what an engine on a busy machine may take its time for."""


@pytest.fixture(autouse=True)
def engine() -> Any:
    require_engine()
    return connect(address())


def soon() -> float:
    return time.monotonic() + PATIENCE


def eventually(condition: Callable[[], Any], what: str) -> Any:
    until = soon()
    while not (value := condition()):
        assert time.monotonic() < until, what
        time.sleep(0.05)
    return value


# -- one container -----------------------------------------------------------------------------------------------------


def target(*command: str, **spec: Any) -> Target:
    return Target(
        name="mine",
        launch="container",
        container=ContainerSpec(**{**({} if "build" in spec else {"image": BASE}), **spec}),
        folder=Path(),
        manifest=None,
        command=command,
        working_directory=Path(),
        readiness="/ready",
        requests=(Request(name="fast", method="GET", path="/"),),
    )


Launch = Callable[..., ContainerInstance]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """`launch(*command, **spec)` starts a container; its session ends with the test, and nothing is left of it."""
    with contextlib.ExitStack() as stack:

        def start(*command: str, changes: Changes = UNCHANGED, **spec: Any) -> ContainerInstance:
            wanted = target(*command, **spec)
            launcher = ContainerLauncher(target=wanted, progress=lambda _: None)
            stack.callback(launcher.close)
            ports = stack.enter_context(reserve(names=("http",)))
            output = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
            instance = launcher.launch(target=wanted, ports=dict(ports), output=output, changes=changes)
            stack.callback(instance.end)
            return instance

        yield start
    assert objects(connect(address()), os.getpid()) == []


def objects(engine: Any, owner: int | None = None) -> list[str]:
    """What there is of ours in an engine, of one owner or of all."""
    api, filters = engine.client.api, {"label": labels.SESSION}
    things = {
        "container": api.containers(all=True, filters=filters),
        "network": api.networks(filters=filters),
        "volume": api.volumes(filters=filters)["Volumes"] or (),
        "image": api.images(all=True, filters=filters),
    }
    return [
        f"{kind} {each.get('Id') or each['Name']}"
        for kind, found in things.items()
        for each in found
        if owner is None or (each.get("Labels") or {}).get(labels.OWNER, "").split("/")[1:2] == [str(owner)]
    ]


def ended(instance: ContainerInstance) -> int | None:
    """The exit status, once all output is there."""
    status = instance.wait_exit(until=soon())
    assert status is not None and instance.wait_output(until=soon())
    assert instance.problems == []
    return status.shell_code


def texts(instance: ContainerInstance, stream: str = "stdout") -> list[str]:
    records = [json.loads(line) for line in instance.output.read_text().splitlines()]
    return [r["text"] for r in records if r.get("stream") == stream and "text" in r]


def test_one_that_ends_at_once_has_all_its_output_once(launch: Launch) -> None:
    """Before anybody could have looked at it or attached to it afterwards."""
    for code in (0, 7, 143):
        instance = launch("sh", "-c", f"echo one; echo two >&2; echo three; exit {code}")
        assert ended(instance) == code
        assert (texts(instance), texts(instance, "stderr")) == (["one", "three"], ["two"])
        assert instance.processes() == []
        assert instance.sockets.listeners(ports=None) == []
        with pytest.raises(ProcessLookupError):
            instance.send(signal.SIGTERM)
        with pytest.raises(ProcessLookupError):
            instance.execute(["sh"], until=soon())
        instance.end_processes()


def test_a_hundred_megabytes_of_output(launch: Launch) -> None:
    lines = 1_000_000
    instance = launch("python3", "-c", f"for i in range({lines}): print('%099d' % i)")
    assert ended(instance) == 0
    records = [json.loads(line) for line in instance.output.read_text().splitlines()]
    said = [r["text"] for r in records if "text" in r]
    dropped = sum(r.get("dropped_lines", 0) for r in records)
    assert len(said) + dropped == lines
    assert (int(said[0]), int(said[-1])) == (0, lines - 1)
    assert instance.output.stat().st_size < 100_000_000


def test_binary_output(launch: Launch) -> None:
    instance = launch("python3", "-c", "import os; os.write(1, bytes(range(256)) * 100)")
    assert ended(instance) == 0
    said = "\n".join(texts(instance)).encode("utf-8", "surrogateescape")
    assert said + b"\n" * (len(bytes(range(256)) * 100) - len(said)) == bytes(range(256)) * 100
    assert "\x00" not in instance.tail()


WAITS = """
import signal, sys, threading
name = sys.argv[1] if len(sys.argv) > 1 else "SIGTERM"
signal.signal(getattr(signal, name.split("+")[0]) + int((name.split("+") + ["0"])[1]), lambda *_: sys.exit(5))
print("up", flush=True)
threading.Event().wait()
"""


def up(instance: ContainerInstance) -> ContainerInstance:
    eventually(lambda: "up" in instance.tail(), f"it is not up: {instance.tail()}")
    return instance


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGRTMIN+3"])
def test_stop_signals_other_than_sigterm(launch: Launch, tmp_path: Path, name: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nSTOPSIGNAL {name}\n")
    instance = up(launch("python3", "-c", WAITS, name, build=tmp_path))
    assert instance.stop_signal == name
    from drainproof.target.signals import number

    signum = number(name)
    assert signum is not None
    instance.send(signum)
    assert ended(instance) == 5


def test_entrypoint_and_command(launch: Launch, tmp_path: Path) -> None:
    says = '["python3", "-c", "import sys; print(*sys.argv[1:])", "entry"]'
    (tmp_path / "Dockerfile").write_text(f'FROM {BASE}\nENTRYPOINT {says}\nCMD ["cmd"]\n')
    assert texts_of(launch(build=tmp_path)) == ["entry cmd"]
    assert texts_of(launch("other", "words", build=tmp_path)) == ["entry other words"]
    assert texts_of(launch(build=tmp_path, changes=Changes(arguments=["more"]))) == ["entry cmd more"]


def texts_of(instance: ContainerInstance) -> list[str]:
    assert ended(instance) == 0, instance.tail()
    return texts(instance)


def test_a_user_that_is_not_root(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nUSER 1234:1234\n")
    instance = up(launch("python3", "-c", "import os; print(os.getuid());" + WAITS, build=tmp_path))
    assert psutil.Process(instance.pid).uids().real == 1234
    assert [process.pid for process in instance.processes()] == [instance.pid]
    instance.send(signal.SIGTERM)
    assert ended(instance) == 5


def test_with_an_init_in_front(launch: Launch) -> None:
    """tini is PID 1: it passes the signal on, and says 143 of a child that dies of it."""
    instance = launch("python3", "-c", "import time; print('up', flush=True); time.sleep(600)", init=True)
    up(instance)
    kind = instance.kind_of_main()
    assert kind.kind == "init", kind
    assert next(instance.own_pid(process.pid) for process in instance.processes()) == 1
    instance.send(signal.SIGTERM)
    assert ended(instance) == 143


@pytest.mark.parametrize("folder", [True, False], ids=["group seen", "group found by name"])
def test_an_executed_command_is_not_blamed_for_a_slow_engine(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, folder: bool
) -> None:
    """Its times are those of its process; the engine's answers come much later."""
    instance = up(launch("python3", "-c", WAITS))
    if not folder:
        monkeypatch.setattr(instance, "_cgroup", None)
    api = instance._engine.client.api
    delay = 3.0

    def late(method: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*arguments: Any) -> Any:
            time.sleep(delay)
            value = method(*arguments)
            time.sleep(delay)
            return value

        return answer

    monkeypatch.setattr(api, "exec_create", late(api.exec_create))
    monkeypatch.setattr(api, "exec_start", late(api.exec_start))
    clock = "import time; print(time.monotonic()); time.sleep(1); print(time.monotonic())"
    asked = time.monotonic()
    done = instance.execute(["python3", "-c", clock + "; exit(3)"], until=soon())
    answered = time.monotonic()
    began, over = map(float, done.output.split())
    assert done.code == 3
    assert asked + 3 * delay <= done.started <= began <= over <= done.ended <= answered - delay


def test_an_executed_command_is_ended_when_its_time_is_over(launch: Launch) -> None:
    instance = up(launch("python3", "-c", WAITS))
    done = instance.execute(["sh", "-c", "echo begun; exec sleep 600"], until=time.monotonic() + 10.0)
    assert (done.code, done.output) == (None, "begun\n")
    eventually(lambda: len(instance.processes()) == 1, "the command was not ended")
    with pytest.raises(CommandNotStarted, match="not-there"):
        instance.execute(["not-there"], until=soon())


def test_without_a_handler_pid_1_gets_no_signal(launch: Launch) -> None:
    instance = up(launch("python3", "-c", "import time; print('up', flush=True); time.sleep(600)"))
    instance.send(signal.SIGTERM)
    assert instance.wait_exit(until=time.monotonic() + 1.0) is None
    instance.end_processes()
    assert ended(instance) == 137


def test_killed_from_outside(launch: Launch) -> None:
    instance = up(launch("python3", "-c", WAITS))
    instance.container.kill()
    assert ended(instance) == 137


def test_paused_from_outside(launch: Launch) -> None:
    """It takes no signal, and is ended all the same."""
    instance = up(launch("python3", "-c", WAITS))
    instance.container.pause()
    instance.send(signal.SIGTERM)
    assert instance.wait_exit(until=time.monotonic() + 0.5) is None
    instance.end_processes()
    assert ended(instance) in (5, 137)
    instance.end()


def test_removed_from_outside(launch: Launch) -> None:
    instance = up(launch("python3", "-c", WAITS))
    instance.container.remove(force=True)
    with contextlib.suppress(HarnessError):  # how it ended, nobody can tell any more
        instance.wait_exit(until=soon())
    instance.end()


def test_a_published_port_is_free_again(launch: Launch) -> None:
    code = "import socket; s = socket.create_server(('', 8000)); print('up', flush=True); s.accept(); s.accept()"
    instance = up(launch("python3", "-c", code))
    port = instance.ports["http"]
    assert [listener.port for listener in instance.sockets.listeners(ports=None)] == [port]
    socket.create_connection(("127.0.0.1", port), 10).close()
    instance.end()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_image_that_does_not_exist(launch: Launch) -> None:
    with pytest.raises(
        CommandNotStarted, match=r"the engine has no image 'drainproof.invalid/none:1' and cannot pull it"
    ):
        launch(image="drainproof.invalid/none:1")


def test_a_build_that_fails_shows_the_end_of_its_log(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUN echo this is why && exit 3\n")
    with pytest.raises(
        CommandNotStarted, match=r"(?s)the image cannot be built from .*returned a non-zero code: 3.*this is why"
    ):
        launch(build=tmp_path)


def test_a_build_that_fails_leaves_no_layers_and_takes_nobody_elses(
    launch: Launch, tmp_path: Path, engine: Any
) -> None:
    """They have no label yet: the engine sets labels last."""
    shared = f"FROM {BASE}\nRUN echo {random.SystemRandom().random()}\n"
    (tmp_path / "Dockerfile").write_text(shared)
    found, _ = engine.client.images.build(path=str(tmp_path), rm=True)
    try:
        (tmp_path / "more").write_text("more")
        (tmp_path / "Dockerfile").write_text(shared + "COPY more /\nENV A=1\nRUN echo two\nRUN exit 3\n")
        with pytest.raises(CommandNotStarted, match="returned a non-zero code: 3"):
            launch(build=tmp_path)
        left = engine.client.api.images(all=True)
        assert found.id in {each["Id"] for each in left}
        assert [each["Id"] for each in left if each["ParentId"] == found.id] == []
    finally:
        engine.client.api.remove_image(found.id, noprune=True)


def test_a_dockerfile_that_is_wrong(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUNN x\n")
    with pytest.raises(CommandNotStarted, match=r"(?i)the image cannot be built from .*unknown instruction"):
        launch(build=tmp_path)


@pytest.mark.parametrize("command", ["not-there", "/etc/passwd", "/tmp"])
def test_a_command_that_does_not_exist(launch: Launch, command: str) -> None:
    with pytest.raises(CommandNotStarted, match=f"mine: the command cannot be started in its container: .*{command}"):
        launch(command)


def test_a_port_that_somebody_took_meanwhile(tmp_path: Path, engine: Any) -> None:
    wanted = target("sleep", "60")
    launcher = ContainerLauncher(target=wanted, progress=lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as taken, contextlib.closing(launcher):
        port = taken.getsockname()[1]
        with pytest.raises(HarnessError, match=r"(?i)started a container: .*(already allocated|in use)"):
            launcher.launch(target=wanted, ports={"http": port}, output=tmp_path / "o")
    assert objects(engine, os.getpid()) == []


def test_a_launch_that_is_broken_off_leaves_nothing_that_appears_later(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the engine makes a container: it does so all the same, when the session has said its last word."""
    wanted = target("sleep", "600")
    launcher = ContainerLauncher(target=wanted, progress=lambda _: None)
    image = launcher.image
    made: list[str] = []

    def create() -> None:
        time.sleep(3.0)
        made.append(engine.client.containers.create(image.id, labels=labels.of(launcher._session)).id)

    late = threading.Thread(target=create)

    def interrupted(*_: object, **__: object) -> None:
        late.start()
        raise KeyboardInterrupt

    monkeypatch.setattr("drainproof.target.container.launcher.ContainerLauncher._start", interrupted)
    with reserve(names=("http",)) as ports, pytest.raises(KeyboardInterrupt):
        launcher.launch(target=wanted, ports=dict(ports), output=tmp_path / "o")
    launcher.close()
    late.join()
    assert made
    assert objects(engine, os.getpid()) == []


def test_a_launch_that_fails_late_leaves_nothing_open(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> bool:
        raise OSError("no more memory")

    def open_now() -> set[str]:
        """What is open beside the engine's connections, which are kept for the next question."""
        found = (each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink())
        return {str(each) for each in found if "pidfd" in str(each) or str(tmp_path) in str(each)}

    wanted = target("sleep", "600")
    with contextlib.closing(ContainerLauncher(target=wanted, progress=lambda _: None)) as launcher:
        _ = launcher.image
        monkeypatch.setattr("drainproof.target.container.instance.docker_proxy", fails)
        with reserve(names=("http",)) as ports, pytest.raises(OSError, match="no more memory"):
            launcher.launch(target=wanted, ports=dict(ports), output=tmp_path / "o")
        assert open_now() == set()
        watching = [thread.name for thread in threading.enumerate() if thread.name.startswith("drainproof-container")]
        assert set(watching) <= {"drainproof-container-status"}, "that one waits for the engine's answer"
    assert objects(engine, os.getpid()) == []


# -- the engine goes away ----------------------------------------------------------------------------------------------


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    made = Relay(tmp_path, address())
    made.start()
    monkeypatch.setenv("DOCKER_HOST", made.address)
    yield made
    made.close()


def test_the_engine_goes_away_and_comes_back(relay: Relay, tmp_path: Path, engine: Any) -> None:
    """What runs is ended at once without it, and removed when it is back."""
    wanted = target("python3", "-c", WAITS)
    launcher = ContainerLauncher(target=wanted, progress=lambda _: None)
    with reserve(names=("http",)) as ports:
        instance = up(launcher.launch(target=wanted, ports=dict(ports), output=tmp_path / "o"))
        process = psutil.Process(instance.pid)
        reaper = launcher._reaper._process if launcher._reaper else None
        assert reaper is not None
        relay.kill()
        with pytest.raises(
            HarnessError, match=f"the Docker engine at {relay.address} does not answer any more|stopped answering"
        ):
            instance.wait_exit(until=soon())
        instance.end()
        process.wait(PATIENCE)
        with pytest.raises(HarnessError, match=SILENT):
            launcher.launch(target=wanted, ports=dict(ports), output=tmp_path / "p")
        launcher.close()
        assert psutil.pid_exists(reaper.pid), "it waits for the engine"
        assert objects(engine, os.getpid())
        relay.start()
        eventually(lambda: not objects(engine, os.getpid()), "the reaper has not removed the container")
        psutil.wait_procs([psutil.Process(reaper.pid)] if psutil.pid_exists(reaper.pid) else [], PATIENCE)


def whole_run(tmp_path: Path, *arguments: str, before: Sequence[str] = (), **variables: str) -> subprocess.Popen[bytes]:
    """A run of drainproof on the conforming server in a container; `before` is what the command is run by."""
    return subprocess.Popen(
        [
            *before,
            *pytest_command(
                f"--target={SERVERS / 'conforming'}",
                "--launch=container",
                f"--report-dir={tmp_path / 'report'}",
                *arguments,
            ),
        ],
        cwd=ROOT,
        env={**environment(), "TMPDIR": str(tmp_path), "COLUMNS": "400", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


SILENT = r"the Docker engine at .*engine\.sock (does not answer any more|stopped answering)"

CORE = "(TestStopUnderLoad or TestSecondSignal) and SIGTERM and main and 1w"

STOP = "TestStopUnderLoad and SIGTERM and main"


@pytest.mark.parametrize("how", ["killed", "hangs"])
def test_a_run_whose_engine_goes_away_ends_by_itself_with_errors(
    relay: Relay, tmp_path: Path, engine: Any, how: str
) -> None:
    run = whole_run(tmp_path, "-k", STOP)
    eventually(lambda: list(tmp_path.glob("report/evidence/*/drain*/ledger*")), "no experiment has come to its load")
    relay.kill() if how == "killed" else relay.hang()
    text = run.communicate(timeout=600)[0].decode(errors="replace")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, text
    results = json.loads((tmp_path / "report/results.json").read_text())
    verdicts = {v["verdict"] for v in results["verdicts"]}
    assert "error" in verdicts and not verdicts & {"fail", "pass", "note"}, text
    assert "Traceback" not in text
    assert "the Docker engine at" in text
    relay.close()
    relay.start()
    eventually(lambda: not objects(engine, run.pid), "something is left in the engine")


# -- who may see what --------------------------------------------------------------------------------------------------


def test_without_the_rights_of_root_most_is_judged_and_the_rest_says_why_not(tmp_path: Path) -> None:
    """A developer who may talk to the engine and is not root, while the server in the container is."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("takes setpriv and root, whose rights are given up")
    drop = [setpriv, "--bounding-set=-all", "--inh-caps=-all"]
    chosen = f"{STOP} and 1w or TestStopOfTheContainer and 1w or TestStart and 2w and not Method"
    run = whole_run(tmp_path, "-k", chosen, before=drop)
    text = run.communicate(timeout=600)[0].decode(errors="replace")
    verdicts = json.loads((tmp_path / "report/results.json").read_text())["verdicts"]
    by_verdict: dict[str, set[str]] = {}
    for verdict in verdicts:
        by_verdict.setdefault(verdict["verdict"], set()).add(verdict["requirement"])
    assert set(by_verdict) == {"pass", "inconclusive"}, text
    assert {"CONT-1", "DRAIN-1", "DRAIN-2", "EXIT-1", "EXIT-6"} <= by_verdict["pass"], text
    assert by_verdict["inconclusive"] == {"START-1", "START-6"}, text
    assert "only root, or the user whom the target runs as" in text


# -- as a process and in a container -----------------------------------------------------------------------------------

ONLY_PROCESSES = {"EXIT-3", "EXIT-4"}
"""The end of PID 1 is the end of all processes of a container, and what else is left goes with it."""


@pytest.mark.parametrize("name", ["exits-1-on-sigterm", "truncates-answers-in-flight", "second-signal-kills"])
def test_the_same_verdicts_as_a_process_and_in_a_container(name: str, tmp_path: Path) -> None:
    server = BROKEN / name
    manifest = (server / "drainproof.toml").read_text().replace('"../../', f'"{SERVERS}/')
    command = next(line for line in manifest.splitlines() if line.startswith("command = "))
    inside = command.replace('"{python}", "server.py"', f'"python3", "broken/{name}/server.py", "--host", "0.0.0.0"')
    container = f'[container]\nbuild = "{SERVERS}"\nbuild_args = ["BASE"]\n{inside}\n\n[health]'
    manifest = manifest.replace('"server.py"', f'"{server}/server.py"').replace("[health]", container, 1)
    (tmp_path / "drainproof.toml").write_text(manifest)
    found = {}
    for mode in ("process", "container"):
        outcome = finished_run(tmp_path, report=tmp_path / mode, arguments=[f"--launch={mode}", "-k", CORE])
        judged = outcome.results["verdicts"]
        assert judged and not outcome.by_requirement("error", "inconclusive"), outcome.explain()
        found[mode] = {
            (v["scenario"], v["check"]): v["verdict"] for v in judged if v["requirement"] not in ONLY_PROCESSES
        }
    assert found["process"] == found["container"]
    assert "fail" in found["container"].values()


# -- engines of another kind -------------------------------------------------------------------------------------------


def judged(tmp_path: Path, where: str) -> tuple[list[dict[str, Any]], str]:
    """The verdicts on a stop under load and a stop of the container, with the engine at `where`."""
    run = whole_run(tmp_path, "-k", STOP + " and 1w or TestStopOfTheContainer and 1w", DOCKER_HOST=where)
    text = run.communicate(timeout=600)[0].decode(errors="replace")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, text
    assert "Traceback" not in text
    return json.loads((tmp_path / "report/results.json").read_text())["verdicts"], text


def test_behind_docker_proxy_nothing_is_said_about_what_clients_see(tmp_path: Path) -> None:
    with own_engine(image=BASE, proxy=True) as where:
        verdicts, text = judged(tmp_path, where)
    assert {v["verdict"] for v in verdicts} == {"inconclusive"}, text
    assert all("docker-proxy stands between the clients and the server" in v["summary"] for v in verdicts), text
    assert all("--userland-proxy=false" in v["summary"] for v in verdicts)


def test_an_engine_whose_processes_are_not_ours(tmp_path: Path) -> None:
    """One in another PID namespace, whose pids mean nothing or somebody else here: as on another machine."""
    with own_engine(image=BASE, before=["unshare", "--pid", "--mount-proc", "--fork"]) as where:
        verdicts, text = judged(tmp_path, where)
    assert {v["verdict"] for v in verdicts} == {"inconclusive"}, text
    assert all(f"the Docker engine at {where} runs elsewhere" in v["summary"] for v in verdicts), text


# -- nothing is left ---------------------------------------------------------------------------------------------------


def ours(marker: str) -> list[psutil.Process]:
    """Living processes of a run: by their environment, which the reaper and the load engine inherit."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("DRAINPROOF_TEST_RUN") == marker:
                found.append(process)
    return found


def command_line(process: psutil.Process) -> list[str]:
    """Empty where it has just ended."""
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words


def nothing_is_left(engine: Any, pid: int, marker: str, tmp_path: Path) -> None:
    eventually(lambda: not objects(engine, pid), f"left in the engine: {objects(engine, pid)}")
    eventually(lambda: not ours(marker), f"left of {marker}: {ours(marker)}")
    assert not list(tmp_path.glob("dp-*"))
    mounts = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounts


def test_nothing_is_left_of_a_whole_run(tmp_path: Path, engine: Any) -> None:
    run = whole_run(tmp_path, "-k", STOP + " and 1w", DRAINPROOF_TEST_RUN="whole")
    text = run.communicate(timeout=600)[0].decode(errors="replace")
    assert run.returncode == 0, text
    assert objects(engine, run.pid) == []
    assert ours("whole") == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_nothing_is_left_whatever_happens_to_pytest(how: signal.Signals, tmp_path: Path, engine: Any) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown with a failure, to repeat it
    moments = random.Random(seed)
    for number in range(MOMENTS if how == signal.SIGKILL else 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        marker = f"{how.name}-{number}-{seed}"
        run = whole_run(folder, "-k", STOP, DRAINPROOF_TEST_RUN=marker)
        # From the first sign of the reaper on there may be something to leave behind.
        eventually(lambda m=marker: any("reaper" in " ".join(command_line(p)) for p in ours(m)), "no reaper")
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.communicate(timeout=moments.uniform(0.0, 15.0))
        run.send_signal(how)
        run.communicate(timeout=300)
        nothing_is_left(engine, run.pid, marker, folder)


def test_what_a_killed_run_with_a_killed_reaper_leaves_the_next_one_removes(tmp_path: Path, engine: Any) -> None:
    run = whole_run(tmp_path, "-k", STOP, DRAINPROOF_TEST_RUN="both")
    eventually(lambda: any(o.startswith("container") for o in objects(engine, run.pid)), "no container")
    (reaper,) = [process for process in ours("both") if "drainproof.target.container.reaper" in command_line(process)]
    reaper.kill()
    run.kill()
    run.communicate()
    assert objects(engine, run.pid)
    # The next session: it removes what has no owner before it makes anything.
    launcher = ContainerLauncher(target=target(), progress=lambda _: None)
    _ = launcher.image
    launcher.close()
    eventually(lambda: not objects(engine, run.pid), "the next session has not removed it")


def test_two_runs_and_workers_of_xdist_do_not_disturb_each_other(tmp_path: Path, engine: Any) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    runs = [
        whole_run(folders[0], "-k", STOP, "-n", "2"),
        whole_run(folders[1], "-k", STOP + " and 1w"),
    ]
    texts = {}

    def read(run: subprocess.Popen[bytes]) -> None:
        texts[run.pid] = run.communicate(timeout=900)[0].decode(errors="replace")

    threads = [threading.Thread(target=read, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run, folder in zip(runs, folders, strict=True):
        assert run.returncode == 0, texts[run.pid]
        verdicts = json.loads((folder / "report/results.json").read_text())["verdicts"]
        assert {v["verdict"] for v in verdicts} == {"pass"}
        assert objects(engine, run.pid) == []


def test_a_server_that_listens_inside_alone_is_told_so(tmp_path: Path, engine: Any) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    (folder / "drainproof.toml").write_text(
        '[container]\nimage = "drainproof/python:local"\ndeadline = 3.0\n'
        'command = ["python3", "-m", "http.server", "8000", "--bind", "127.0.0.1"]\n'
        '[health]\nreadiness = "/"\n[[request]]\npath = "/"\n'
    )
    outcome = finished_run(folder, report=tmp_path / "report", arguments=["-k", "start.TestStart"])
    assert "it listens on 127.0.0.1 alone, inside its container; let it listen on 0.0.0.0" in outcome.explain()
