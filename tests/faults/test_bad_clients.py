"""Bad clients against a real process: what its defects leave in the evidence, and sending a failure again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drainproof.errors import Unsupported
from drainproof.evidence import Evidence
from drainproof.experiment import Experiment
from drainproof.faults.bad_clients.cases import Case, read_cases
from drainproof.faults.bad_clients.leaks import found
from drainproof.faults.bad_clients.rules import RULES, failing
from drainproof.laboratory import Archive, Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.scenario import UntilGoneOrServing, at_steady_state, malformed_requests, steady, vanishing_clients
from drainproof.target.description import Policy, Target

SERVER = Path(__file__).with_name("bad_clients_server.py")
PREDICT = Request(
    name="predict",
    method="POST",
    path="/",
    headers={"Content-Type": "application/json"},
    body='{"token": "{token}", "n": 1}',
    expect=Expectation(contains="{token}"),
    duration=0.01,
)


def target(*defects: str, requests: tuple[Request, ...] = (PREDICT,)) -> Target:
    return Target(
        name="small",
        folder=SERVER.parent,
        manifest=None,
        command=(sys.executable, str(SERVER), "{port}", *defects),
        working_directory=SERVER.parent,
        start_deadline=20.0,
        readiness="/ready",
        requests=requests,
        policy=Policy(grace_period=3.0, settle_time=0.5),
    )


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type]:
    """Experiments that share one load engine would need one target; each gets a laboratory of its own."""
    opened: list[Laboratory] = []

    class Opened:
        @staticmethod
        def experiment(of: Target) -> tuple[Experiment, Path]:
            folder = tmp_path_factory.mktemp("evidence")
            opened.append(Laboratory(target=of, folder=folder, progress=lambda text: None))
            return opened[-1].experiment(scenario="x", title="x"), folder

    yield Opened
    for each in opened:
        each.close()


LOAD = [steady(rate=20, connections="new")]


@pytest.fixture(scope="module")
def malformed(laboratory) -> Evidence:  # type: ignore[no-untyped-def]
    """Of a server with two defects."""
    experiment, folder = laboratory.experiment(target("500-to-x80", "200-to-all"))
    faults = [at_steady_state(malformed_requests(examples=12))]
    live = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    saved = Archive(folder=folder).experiment(scenario="x", title="x").run(load=LOAD, faults=faults)
    assert failing(read_cases(live.folder)) == failing(read_cases(saved.folder))
    return saved


def test_what_fails_is_found_and_made_small(malformed: Evidence) -> None:
    malformed.require()
    assert set(malformed.fault["classes"]) == set(RULES)
    wrong = failing(read_cases(malformed.folder))
    assert wrong["utf-8"][0] == "answered 500"
    body = b"".join(Case.from_json(dict(wrong["utf-8"][1])).stream()).partition(b"\r\n\r\n")[2]
    assert body.count(b"\x80") == 1 and len(body) == len('{"token": "malformed", "n": 1}') + 1
    assert wrong["json-syntax"][0].startswith("answered 200, and not with what would be right")
    assert "content-length" not in wrong and "truncated-body" not in wrong and "chunks" not in wrong
    assert malformed.fault["t"] < read_cases(malformed.folder)[0]["t0"] < malformed.fault["until"]


def test_nobody_else_was_hurt(malformed: Evidence) -> None:
    others = malformed.requests.where(lambda j: j.record.end > malformed.fault["t"])
    assert len(others) > 3 and not others.where(lambda j: j.fate not in ("right", "unfinished"))
    assert malformed.all("serving_after_fault")[-1]["serving"] and malformed.exit is None


def test_nothing_is_left_in_the_working_directory(malformed: Evidence, tmp_path: Path) -> None:
    names = {path.name for path in malformed.folder.iterdir()}
    assert not {name for name in names if "hypothesis" in name}


@pytest.fixture
def running() -> Iterator[int]:
    """A server with the first of the two defects mended; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(SERVER), str(port), "200-to-all"])
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def again(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "drainproof.faults.bad_clients", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_a_failure_is_sent_again(malformed: Evidence, running: int) -> None:
    number = str(failing(read_cases(malformed.folder))["utf-8"][1]["case"])
    mended = again(str(malformed.folder), "--port", str(running), "--case", number)
    assert mended.returncode == 0 or b"answered 500" not in mended.stdout, mended.stdout
    everything = again(str(malformed.folder), "--port", str(running))
    assert everything.returncode == 1 and b"json-syntax" in everything.stdout, everything
    raw = again(str(malformed.folder), "--case", number, "--raw")
    assert b"\x80" in raw.stdout and raw.stdout.startswith(b"POST / HTTP/1.1\r\n")
    assert again(str(running)).returncode == 2


def test_a_server_that_dies_is_seen_to_die(laboratory) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = laboratory.experiment(target("dies-of-bytes"))
    faults = [at_steady_state(malformed_requests(examples=3))]
    evidence = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    assert evidence.exit is not None and evidence.exit.code == 9
    assert failing(read_cases(evidence.folder))["utf-8"][0] in ("closed without an answer", "no connection any more")


def test_what_vanishing_clients_leave_in_memory_is_found(laboratory) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = laboratory.experiment(target("keeps-memory"))
    faults = [at_steady_state(vanishing_clients(24, rounds=2))]
    evidence = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    evidence.require()
    readings = evidence.all("holding")
    assert set(found(readings)) == {"memory"}, readings
    assert evidence.fault["waited_behind"]["wrong"] == 0
    assert all(count > 0 for count in evidence.fault["by_stage"].values())


@pytest.mark.real
def test_a_server_that_keeps_nothing_passes(laboratory) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = laboratory.experiment(target())
    faults = [at_steady_state(vanishing_clients(96, rounds=2))]
    evidence = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    evidence.require()
    readings = evidence.all("holding")
    assert len(readings) == 3 and not found(readings), readings


@pytest.mark.real
def test_descriptors_that_stay_open_are_found(laboratory) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = laboratory.experiment(target("keeps-files"))
    faults = [at_steady_state(vanishing_clients(96, rounds=2))]
    evidence = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    assert set(found(evidence.all("holding"))) == {"descriptors"}


@pytest.mark.real
def test_a_hang_is_looked_at_twice(laboratory) -> None:  # type: ignore[no-untyped-def]
    experiment, _ = laboratory.experiment(target("silent-to-nul"))
    faults = [at_steady_state(malformed_requests(examples=40))]
    evidence = experiment.run(load=LOAD, faults=faults, observe=UntilGoneOrServing())
    lines = read_cases(evidence.folder)
    hung = [line for line in lines if line["outcome"] == "hung"]
    looks = list(zip(hung[::2], hung[1::2], strict=True))  # another class may have come upon a NUL too
    assert looks and all(first["parts"] == second["parts"] for first, second in looks)
    assert all((first["counts"], second["counts"]) == (False, True) for first, second in looks)
    assert len({first["class"] for first, _ in looks}) == len(looks), "a class goes on after its hang"
    assert failing(lines)["json-syntax"][0] == "neither answered nor closed"


@pytest.mark.parametrize("fault", [malformed_requests(), vanishing_clients()])
def test_a_target_without_a_body_is_unsupported(fault) -> None:  # type: ignore[no-untyped-def]
    get = Request(name="get", method="GET", path="/")
    endless = Request(name="endless", method="POST", path="/", body="x", duration=float("inf"))
    with pytest.raises(Unsupported, match="a request with a body"):
        fault.check(target(requests=(get, endless)))
