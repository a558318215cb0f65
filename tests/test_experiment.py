"""Experiments on a real process, and judging their evidence again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from drainproof.errors import (
    CommandNotStarted,
    ExitedEarly,
    HarnessError,
    Inconclusive,
    LaunchError,
    NeverReadyNeverExits,
    NotReadyInTime,
    ReadyButNotServing,
    Unsupported,
)
from drainproof.evidence import Evidence
from drainproof.experiment import conclude
from drainproof.faults.moments import SteadyState
from drainproof.laboratory import Archive, Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.recorder import LEDGER, TIMELINE
from drainproof.scenario import (
    after,
    at_start_up,
    at_steady_state,
    before_launch,
    hold,
    load_failure,
    once,
    port_taken,
    steady,
)
from drainproof.scenario import signal as send
from drainproof.target.description import Policy, Target

TINY = Path(__file__).parent / "servers" / "tiny.py"
POLICY = Policy(grace_period=3.0, settle_time=2.0)


def request(name: str, seconds: float) -> Request:
    body = f'{{"token": "{{token}}", "seconds": {seconds}}}'
    return Request(
        name=name, method="POST", path="/", body=body, expect=Expectation(contains="{token}"), duration=seconds
    )


def tiny(*switches: str, command: tuple[str, ...] | None = None, start_deadline: float = 20.0) -> Target:
    """The tiny server as a target."""
    return Target(
        name="tiny",
        folder=TINY.parent,
        manifest=None,
        command=command or (sys.executable, str(TINY), "{port}", *switches),
        working_directory=TINY.parent,
        start_deadline=start_deadline,
        readiness="/ready",
        requests=(request("fast", 0.01), request("slow", 0.6)),
        policy=POLICY,
    )


@pytest.fixture
def phases() -> list[str]:
    return []


@pytest.fixture
def run(tmp_path: Path, phases: list[str]) -> Iterator[object]:
    """Runs one experiment on a target; the laboratory is closed at the end."""
    laboratories = []

    def go(target: Target, **what: object) -> object:
        laboratories.append(Laboratory(target=target, folder=tmp_path / "evidence", progress=phases.append))
        return laboratories[-1].experiment(scenario="x", title="x").run(**what)  # type: ignore[arg-type]

    yield go
    for laboratory in laboratories:
        laboratory.close()


def test_a_signal_under_load_and_the_same_again_from_the_folder(run, tmp_path, phases) -> None:  # type: ignore[no-untyped-def]
    load = [steady(rate=30), steady(rate=10, connections="new"), hold(4)]
    live = run(tiny(), load=load, faults=[at_steady_state(send("SIGTERM"))])
    saved = Archive(folder=tmp_path / "evidence").experiment(scenario="x", title="x").run()
    for evidence in (live, saved):
        evidence.require(accepted_at_signal=3)
        assert evidence.exit.code == 0
        assert not evidence.requests.accepted().not_answered()
        assert evidence.fault["proven"] and evidence.fault["disposition"] == "handled"
        assert evidence.fault["main"]["is"] == "server"
        assert evidence.gone is not None and evidence.gone >= evidence.exit.t - 0.001
        assert evidence.listener_closed is not None
        assert evidence.find("leftovers")["left"] == []
    assert repr(live.requests) == repr(saved.requests)
    assert phases[0] == "starting" and "SIGTERM" in phases


@pytest.mark.parametrize(
    ("name", "member", "damage"),
    [
        ("output.jsonl", "output", None),
        ("output.jsonl", "output", b'{"t":1.0,"stream":"stdout","text":"x"}\n'),
        ("output.jsonl", "output", b"\xff\xfe\n"),
        ("ledger.jsonl", "ledger", None),
        ("ledger.jsonl", "ledger", b"[]\n"),
        ("probes.jsonl", "history", None),
        ("probes.jsonl", "history", b"{}\n"),
        ("timeline.jsonl", "events", b"{}\n"),
        ("experiment.json", "experiment", b"[]"),
    ],
)
def test_damaged_evidence_is_no_ground_for_a_verdict(evidence_folder, tmp_path, name, member, damage) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "copy"
    shutil.copytree(evidence_folder, folder)
    assert getattr(Evidence(folder), member) is not None
    if damage is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damage)
    with pytest.raises(HarnessError, match=name.partition(".")[0]):
        getattr(Evidence(folder), member)


@pytest.fixture(scope="module")
def evidence_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The evidence of one ordinary experiment."""
    folder = tmp_path_factory.mktemp("ordinary")
    with Laboratory(target=tiny(), folder=folder, progress=lambda _text: None) as laboratory:
        experiment = laboratory.experiment(scenario="x", title="x")
        experiment.run(load=[once(2)], faults=[at_steady_state(send("SIGTERM"))])
    return folder / "x"


@pytest.mark.parametrize(
    ("target", "error", "texts"),
    [
        (tiny(command=("no-such-command", "{port}")), CommandNotStarted, ["no-such-command", "not found"]),
        (tiny("exit-0"), ExitedEarly, ["with status 0", "before it was ready"]),
        (tiny("exit-3"), ExitedEarly, ["with status 3", "no such model: llama"]),
        (tiny("not-ready", start_deadline=1.5), NotReadyInTime, ["not ready within 1.5 s", "/ready answered 503"]),
        (
            tiny("wrong", start_deadline=1.5),
            ReadyButNotServing,
            ["never served", "does not contain"],
        ),
        (tiny("not-ready", "ignore-sigterm", start_deadline=1.0), NeverReadyNeverExits, ["nor did it end within 3 s"]),
    ],
    ids=["not-found", "exit-0", "exit-3", "not-ready", "wrong-answer", "hangs"],
)
def test_a_target_that_does_not_come_up(
    run, tmp_path, target: Target, error: type[LaunchError], texts: list[str]
) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error) as live:
        run(target, faults=[after(0.0, send("SIGTERM"))])
    for text in texts:
        assert text in str(live.value)
    with pytest.raises(error) as saved:
        conclude(tmp_path / "evidence" / "x")
    assert str(saved.value) == str(live.value)


def test_a_target_that_never_comes_up_is_given_up(tmp_path: Path) -> None:
    with Laboratory(target=tiny("exit-3"), folder=tmp_path, progress=lambda _text: None) as laboratory:
        texts = []
        for number in range(5):
            with pytest.raises(ExitedEarly) as caught:
                laboratory.experiment(scenario=f"x{number}", title="x").run(faults=[after(0.0, send("SIGTERM"))])
            texts.append(str(caught.value))
    assert ["not started again after 3 starts" in text for text in texts] == [False] * 3 + [True] * 2
    assert all("no such model: llama" in text for text in texts)
    assert not (tmp_path / "x4" / "output.jsonl").exists()
    with pytest.raises(ExitedEarly, match="not started again"):
        conclude(tmp_path / "x4")


def test_a_shell_as_main_process_is_said(run) -> None:  # type: ignore[no-untyped-def]
    command = ("sh", "-c", f"{sys.executable} {TINY} {{port}}; true")
    evidence = run(tiny(command=command), load=[once(2)], faults=[at_steady_state(send("SIGTERM"))])
    assert evidence.fault["main"]["is"] == "shell"
    assert "does not pass" in evidence.fault["main"]["note"]
    assert evidence.find("survivors") is not None, "the shell died, and its child lived on"


def test_an_ignored_signal_is_proven_and_said(run) -> None:  # type: ignore[no-untyped-def]
    evidence = run(tiny("ignore-sigterm"), load=[once(2)], faults=[at_steady_state(send("SIGTERM"))])
    assert evidence.fault["proven"] and "ignores it" in evidence.fault["because"]
    assert evidence.exit is None and evidence.find("still_alive") is not None
    assert evidence.find("ended_by_harness") is not None


def test_a_signal_to_the_dead_is_not_proven(run) -> None:  # type: ignore[no-untyped-def]
    evidence = run(
        tiny(), load=[once(1, request="fast")], faults=[after(0.0, send("SIGKILL")), after(0.5, send("SIGTERM"))]
    )
    assert [fault["proven"] for fault in evidence.faults] == [True, False]
    assert evidence.exit.status == 137
    with pytest.raises(Inconclusive, match="had ended before the signal"):
        evidence.require()


def test_a_steady_state_that_does_not_come_is_inconclusive(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("drainproof.faults.moments.PATIENCE", 0.5)
    load = [hold(4, request="fast"), once(2, request="slow")]
    target = tiny()
    with pytest.raises(Inconclusive, match="no steady state"):
        run(target, load=[*load, steady(rate=0.001)], faults=[at_steady_state(send("SIGTERM"))])


def test_sigterm_in_the_start_up(run) -> None:  # type: ignore[no-untyped-def]
    evidence = run(tiny(), faults=[at_start_up(0.2, send("SIGTERM"))])
    assert evidence.exit is not None and evidence.moment("ready") is None
    assert evidence.fault["t"] < evidence.exit.t


def test_a_taken_port_is_proven(run) -> None:  # type: ignore[no-untyped-def]
    evidence = run(tiny(), faults=[before_launch(port_taken())])
    assert evidence.fault["proven"]
    assert evidence.exit.status == 1
    assert evidence.output.matching("address already in use")


def test_what_the_target_does_not_declare_is_unsupported(run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Unsupported, match=r"provoke\.load_failure"):
        run(tiny(), faults=[before_launch(load_failure())])
    with pytest.raises(Unsupported, match="no port named grpc"):
        run(tiny(), faults=[before_launch(port_taken("grpc"))])
    assert not (tmp_path / "evidence" / "x").exists(), "nothing was run, so there is no evidence"


def test_a_stranger_on_the_port_is_not_believed(run, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import drainproof.experiment
    from drainproof.errors import PortTaken

    stranger = socket.create_server(("127.0.0.1", 0))
    number = stranger.getsockname()[1]

    class Fixed(dict):  # type: ignore[type-arg]
        def __enter__(self):  # type: ignore[no-untyped-def]
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(drainproof.experiment, "reserve", lambda names: Fixed(http=number))
    sleeper = (sys.executable, "-c", "import time; time.sleep(60)", "{port}")
    with stranger, pytest.raises(PortTaken, match="another process listens"):
        run(tiny(command=sleeper))


def test_a_load_engine_that_dies_is_our_error_and_the_target_is_ended(run, tmp_path, phases) -> None:  # type: ignore[no-untyped-def]
    def kill_engine(text: str) -> None:
        phases.append(text)
        if text == "SIGTERM":
            for child in psutil.Process(os.getpid()).children(recursive=True):
                with contextlib.suppress(psutil.Error):  # one of the children that end while we look
                    if "drainproof.load.engine" in " ".join(child.cmdline()):
                        child.kill()

    laboratory = Laboratory(target=tiny(), folder=tmp_path / "killed", progress=kill_engine)
    with laboratory, pytest.raises(HarnessError, match="load engine"):
        experiment = laboratory.experiment(scenario="x", title="x")
        experiment.run(load=[hold(2)], faults=[at_steady_state(send("SIGTERM"))]).require(accepted_at_signal=1)
    assert not [
        p
        for p in psutil.process_iter(["cmdline"])
        if str(TINY) in (p.info["cmdline"] or []) and p.ppid() == os.getpid()
    ]


def test_a_measurement_on_a_starved_machine_is_made_again(run, tmp_path, phases, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    answers = [["the load engine got no processor time"], []]
    monkeypatch.setattr("drainproof.evidence.Evidence.starvation", lambda self: answers.pop(0))
    evidence = run(tiny(), load=[once(1)], faults=[at_steady_state(send("SIGTERM"))])
    assert not answers and evidence.exit is not None
    assert "this machine was too busy to measure; once more" in phases
    assert (tmp_path / "evidence" / "discarded" / "x-1" / "ledger.jsonl").exists()


def test_a_moment_that_was_missed_is_tried_again(run, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(SteadyState, "_all_read", lambda *_: False)  # nobody looks before they are answered
    load = [once(2, request="fast")]
    with pytest.raises(Inconclusive, match="were answered before it was steady"):
        run(tiny(), load=load, faults=[at_steady_state(send("SIGTERM"))])
    discarded = tmp_path / "evidence" / "discarded" / "x-1"
    assert len(list(discarded.parent.iterdir())) == 2
    assert Evidence(discarded).missed() == ["once"]


def test_on_a_crowded_machine_it_is_tried_more_often(run, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    monkeypatch.setattr(Evidence, "missed", lambda self: ["once"])
    run(tiny(), load=[once(1)], faults=[at_steady_state(send("SIGTERM"))])
    assert len(list((tmp_path / "evidence" / "discarded").iterdir())) == 7


def test_too_few_accepted_requests_are_a_missed_moment(run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Fewer than half of those that were held, or none of those that were sent once; by the saved evidence."""
    evidence = run(tiny(), load=[hold(4), once(2)], faults=[at_steady_state(send("SIGTERM"))])
    accepted: dict[str, list[int]] = {"hold": [], "once": []}
    for judged in evidence.requests.accepted():
        accepted[judged.record.stream].append(judged.record.port)
    assert len(accepted["hold"]) >= 2 and accepted["once"], "an experiment without them would have been made again"

    def missed(*, held: int, once: int) -> list[str]:
        read = accepted["hold"][:held] + accepted["once"][:once]
        events = [dict(event) for event in evidence.events]
        for event in events:
            if event["event"] == "fault":
                event["sockets"] = {**event["sockets"], "read": read}
        folder = tmp_path / f"{held}-{once}"
        shutil.copytree(evidence.folder, folder)
        (folder / TIMELINE).write_text("".join(json.dumps(event) + "\n" for event in events))
        return Evidence(folder).missed()

    assert missed(held=2, once=1) == []
    assert missed(held=1, once=1) == ["hold"]
    assert missed(held=2, once=0) == ["once"]


def test_held_requests_that_are_all_due_are_a_missed_moment(run, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """By when they were sent, in the saved evidence, and only where they were to be spread."""
    load = [hold(4, stagger=0.3), hold(2, name="together")]
    evidence = run(tiny(), load=load, faults=[at_steady_state(send("SIGTERM"))])
    assert evidence.missed() == [], "an experiment with that would have been made again"
    t, duration = evidence.fault["t"], evidence.target.slow().duration

    def missed(left: float) -> list[str]:
        folder = tmp_path / f"{left}"
        shutil.copytree(evidence.folder, folder)
        accepted = {judged.record.id for judged in evidence.requests.accepted()}
        lines = [json.loads(line) for line in (folder / LEDGER).read_text().splitlines()]
        for line in lines:
            if line.get("id") in accepted:
                line["sent"] = min(line["sent"], t - (1 - left) * duration)
        (folder / LEDGER).write_text("".join(json.dumps(line) + "\n" for line in lines))
        return Evidence(folder).missed()

    assert missed(left=0.9) == []
    assert missed(left=0.1) == ["hold"]


def test_a_group_that_the_server_is_not_in_is_not_taken_for_one_that_it_is(run) -> None:  # type: ignore[no-untyped-def]
    wrapper = (
        "import os, signal, subprocess, sys; server = subprocess.Popen(sys.argv[1:], preexec_fn=os.setpgrp); "
        "signal.signal(signal.SIGTERM, lambda *_: server.terminate()); sys.exit(server.wait())"
    )
    apart = tiny(command=(sys.executable, "-c", wrapper, *tiny().command))
    with pytest.raises(Unsupported, match="alone in its process group, without the server"):
        run(apart, load=[hold(2)], faults=[at_steady_state(send("SIGTERM", to="group"))])


def test_an_interrupted_experiment_has_no_verdict(tmp_path: Path) -> None:
    class Stop(BaseException):
        pass

    def interrupt(text: str) -> None:
        if text == "observing":
            raise Stop

    with Laboratory(target=tiny("ignore-sigterm"), folder=tmp_path, progress=interrupt) as laboratory:
        began = time.monotonic()
        with pytest.raises(Stop):
            laboratory.experiment(scenario="x", title="x").run(faults=[after(0.0, send("SIGTERM"))])
        assert time.monotonic() - began < 60
    with pytest.raises(HarnessError, match="aborted by Stop"):
        conclude(tmp_path / "x")


@pytest.mark.parametrize(
    ("switch", "kind", "text"),
    [
        ("kill-keeper", HarnessError, "the keeper of tiny was killed"),
        ("exit-under-load", Inconclusive, "no steady state: the target ended with status 7"),
    ],
)
def test_a_steady_state_that_cannot_come_any_more_is_not_waited_for(run, switch, kind, text) -> None:  # type: ignore[no-untyped-def]
    begin = time.monotonic()
    with pytest.raises(kind, match=text):
        run(tiny(switch), load=[steady(rate=30), hold(4)], faults=[at_steady_state(send("SIGTERM"))])
    assert time.monotonic() - begin < 15
