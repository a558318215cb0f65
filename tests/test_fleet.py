"""Experiments on two real instances behind a real load balancer."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest
from drainproof import fleet
from drainproof.errors import Inconclusive, Unsupported
from drainproof.evidence import Evidence
from drainproof.laboratory import Archive, Laboratory
from drainproof.load.plan import Request
from drainproof.probes.balancer import PROBE
from drainproof.scenario import (
    UntilServed,
    at_steady_state,
    behind_balancer,
    hold,
    rolling_restart,
    sessions,
    steady,
)
from drainproof.target import balancer as balancers
from drainproof.target.description import Target
from drainproof_scenarios import _rolling, rolling

from tests.facts import Facts
from tests.test_experiment import TINY, tiny

try:
    balancers.find()
except Unsupported as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A rolling restart of two tiny servers."""
    return roll(tiny(), tmp_path_factory.mktemp("rolled"))


def roll(target: Target, folder: Path, *, sticky: bool = True) -> Evidence:
    with Laboratory(target=target, folder=folder, progress=lambda _text: None) as laboratory:
        return laboratory.experiment(scenario="x", title="x").run(
            load=[steady(rate=20, connections="new"), hold(6, stagger=0.3), sessions(4)],
            faults=[at_steady_state(rolling_restart())],
            observe=UntilServed(seconds=0.3),
            behind=behind_balancer(sticky=sticky),
        )


def test_each_instance_was_stopped_with_requests_in_hand_and_replaced(evidence: Evidence) -> None:
    evidence.require()
    first, second = evidence.fault["steps"]
    assert (first["server"], second["server"]) == (fleet.FIRST, fleet.SECOND)
    for step in (first, second):
        assert step["in_hand"] >= 1 and step["disposition"] == "handled" and not step["killed"]
        assert step["t"] < step["gone"] < step["ready"] <= step["seen_up"]
        assert step["code"] == 0
    assert first["seen_up"] <= second["t"], "the second one was stopped before the first one was back"


def test_the_load_went_to_both_and_the_balancer_says_to_whom(evidence: Evidence) -> None:
    answered = {judged.record.answered_by for judged in evidence.requests.fate("right")}
    assert answered == {"a", "b"}
    port = evidence.find("balancer")["port"]  # type: ignore[index]
    assert port not in evidence.experiment["ports"].values()


def test_the_balancer_was_seen_to_take_each_out_and_in_again(evidence: Evidence) -> None:
    for server in ("a", "b"):
        ups = [state.value["up"] for state in evidence.history.states(probe=PROBE, key=server)]
        assert ups[0] is True and False in ups and ups[-1] is True
    path = evidence.target.readiness
    for server in ("a", "b"):
        states = evidence.history.states(probe=fleet.probe_of("readiness", server), key=path)
        assert len(states) >= 3, "ready, refused, ready again"


def test_the_same_is_judged_from_the_folder(evidence: Evidence) -> None:
    saved = Archive(folder=evidence.folder.parent).experiment(scenario="x", title="x").run(behind=behind_balancer())
    assert repr(saved.requests) == repr(evidence.requests)
    assert _rolling.moves(saved, "sessions") == _rolling.moves(evidence, "sessions")


def test_sessions_left_only_the_server_that_was_restarted(evidence: Evidence) -> None:
    moves = _rolling.moves(evidence, "sessions")
    assert moves and all(move.restarting for move in moves)


def test_nothing_is_left(evidence: Evidence) -> None:
    ports = {str(n) for m in evidence.find("balancer")["members"].values() for n in m.values()}  # type: ignore[index]
    left = [
        process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if (line := process.info["cmdline"] or []) and (str(TINY) in line and ports & set(line))
    ]
    assert not left
    configuration = str(evidence.folder / balancers.CONFIGURATION)
    assert not [p for p in psutil.process_iter(["cmdline"]) if configuration in (p.info["cmdline"] or [])]


def test_a_server_that_does_not_come_back_fails(tmp_path: Path) -> None:
    once = (
        f'if [ -e "$0$1" ]; then echo "cannot start twice"; exit 3; fi; touch "$0$1"; exec {sys.executable} {TINY} $1'
    )
    evidence = roll(tiny(command=("sh", "-c", once, str(tmp_path / "mark-"), "{port}")), tmp_path / "evidence")
    assert evidence.fault["proven"] and len(evidence.fault["steps"]) == 1
    with pytest.raises(AssertionError, match=r"(?s)server a did not come back on its port: ExitedEarly.*start twice"):
        rolling.nothing_is_lost(evidence, Facts())


def test_one_that_is_not_back_in_time_leaves_it_open(tmp_path: Path) -> None:
    """A busy machine may be the reason: the same goes for every start."""
    slow = f'if [ -e "$0$1" ]; then set -- $1 not-ready; fi; touch "$0$1"; exec {sys.executable} {TINY} "$@"'
    target = tiny(command=("sh", "-c", slow, str(tmp_path / "mark-"), "{port}"), start_deadline=8.0)
    evidence = roll(target, tmp_path / "evidence")
    with pytest.raises(
        Inconclusive, match=r"server a: the new instance was not there in time: .* not ready within 8 s"
    ):
        rolling.nothing_is_lost(evidence, Facts())


def test_a_second_instance_that_does_not_come_up_leaves_it_open(tmp_path: Path) -> None:
    one = f'if [ -e "$0" ]; then echo "there is one already"; exit 3; fi; touch "$0"; exec {sys.executable} {TINY} $1'
    with pytest.raises(Inconclusive, match=r"(?s)second instance does not come up beside the first.*is one already"):
        roll(tiny(command=("sh", "-c", one, str(tmp_path / "mark"), "{port}")), tmp_path / "evidence")


def test_a_server_that_does_not_go_is_killed_when_its_grace_period_is_over(tmp_path: Path) -> None:
    evidence = roll(tiny("ignore-sigterm"), tmp_path)
    assert [step["killed"] for step in evidence.fault["steps"]] == [True, True]
    for step in evidence.fault["steps"]:
        assert step["gone"] - step["t"] >= evidence.policy.grace_period
        assert step["disposition"] == "ignored"
    facts = Facts()
    with pytest.raises(AssertionError, match="requests were lost by a rolling restart"):
        rolling.nothing_is_lost(evidence, facts)
    assert facts.killed == ["a", "b"]  # type: ignore[attr-defined]


def test_no_balancer_is_unsupported_and_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balancers, "NAME", "no-such-balancer")
    with pytest.raises(Unsupported, match="apt-get install"):
        roll(tiny(), tmp_path)
    with pytest.raises(Unsupported, match="apt-get install"):  # the same from the folder
        Archive(folder=tmp_path).experiment(scenario="x", title="x").run(behind=behind_balancer())


def test_grpc_is_not_sent_through_it(tmp_path: Path) -> None:
    rpc = Request(name="rpc", method="gRPC", path="/a.B/C", protocol="grpc")
    with pytest.raises(Unsupported, match="only HTTP requests"):
        behind_balancer().check(tiny(), (rpc,))


def test_without_a_fleet_there_is_nothing_to_roll_through(tmp_path: Path) -> None:
    laboratory = Laboratory(target=tiny(), folder=tmp_path, progress=lambda _text: None)
    with laboratory, pytest.raises(Exception, match=r"experiment\.run\(behind="):
        laboratory.experiment(scenario="x", title="x").run(
            load=[steady(rate=20)], faults=[at_steady_state(rolling_restart())], observe=UntilServed()
        )
