"""The end of a pod, on a real process: who does what, in which order, and what it costs the clients."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from drainproof.errors import Inconclusive, Unsupported
from drainproof.evidence import Evidence
from drainproof.evidence.pods import PodEnd
from drainproof.faults.pod import MINIMUM_GRACE
from drainproof.laboratory import Laboratory
from drainproof.load.plan import Expectation, Request
from drainproof.scenario import at_steady_state, hold, pod_termination, signal, steady
from drainproof.target.description import Policy, Target
from drainproof.target.instance import Executed
from drainproof.target.pod import ExecHook, Hook, HttpGetHook, Pod, SleepHook
from drainproof.target.process import ProcessInstance

TINY = Path(__file__).parents[1] / "servers" / "tiny.py"

QUIT = """
import os, time, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/quit")
time.sleep(600)
"""


def request(name: str, seconds: float) -> Request:
    body = f'{{"token": "{{token}}", "seconds": {seconds}}}'
    return Request(
        name=name, method="POST", path="/", body=body, expect=Expectation(contains="{token}"), duration=seconds
    )


def tiny(*switches: str, pod: Pod | None, folder: Path = TINY.parent) -> Target:
    return Target(
        name="tiny",
        folder=folder,
        manifest=None,
        command=(sys.executable, str(TINY), "{port}", *switches),
        working_directory=folder,
        environment={"PORT": "{port}"},
        start_deadline=20.0,
        readiness="/ready",
        requests=(request("fast", 0.01), request("slow", 0.6)),
        policy=Policy(grace_period=20.0, settle_time=2.0),
        pod=pod,
    )


def ended(tmp_path: Path, target: Target, **fault: Any) -> Evidence:
    with Laboratory(target=target, folder=tmp_path / "evidence", progress=lambda text: None) as laboratory:
        return laboratory.experiment(scenario="x", title="x").run(
            load=[steady(rate=20), steady(rate=20, connections="new"), hold(2)],
            faults=[at_steady_state(pod_termination(**fault))],
        )


def order(evidence: Evidence) -> list[str]:
    """What happened to the pod, by its moments."""
    names = (
        "pod_deleted",
        "pre_stop_started",
        "pre_stop_ended",
        "endpoint_removed",
        "stop_signal_sent",
        "sigkill_sent",
        "exit",
    )
    return [e["event"] for e in sorted(evidence.events, key=lambda e: e["t"]) if e["event"] in names]


class TestSequence:
    def test_without_a_hook_the_signal_comes_while_clients_are_still_sent_to_it(self, tmp_path: Path) -> None:
        evidence = ended(tmp_path, tiny(pod=Pod(grace_period=20.0)), endpoint_lag=1.5)
        end = PodEnd.of(evidence)
        assert order(evidence)[:2] == ["pod_deleted", "stop_signal_sent"]
        assert "endpoint_removed" in order(evidence)
        assert (end.hook, end.hook_seconds, end.killed) == ("none", 0.0, None)
        assert end.unrouted is not None and end.unrouted >= end.due == end.deleted + 1.5
        assert end.failed(evidence).fates()["refused"] > 0
        assert not end.failed_otherwise(evidence)
        assert evidence.fault["disposition"] == "handled"
        assert evidence.exit is not None and evidence.exit.code == 0

    def test_a_hook_that_waits_for_the_endpoint_saves_everybody(self, tmp_path: Path) -> None:
        pod = Pod(grace_period=20.0, pre_stop=ExecHook(command=("sh", "-c", "echo bye; sleep 3")))
        evidence = ended(tmp_path, tiny(pod=pod), endpoint_lag=0.5)
        end = PodEnd.of(evidence)
        assert order(evidence) == [
            "pod_deleted",
            "pre_stop_started",
            "endpoint_removed",
            "pre_stop_ended",
            "stop_signal_sent",
            "exit",
        ]
        assert end.hook == "done" and end.hook_seconds >= 3.0
        assert not end.failed(evidence)
        assert evidence.requests.fate("elsewhere")
        assert end.drain is not None and end.spent == pytest.approx(end.hook_seconds + end.drain)
        assert any("bye" in line for line in (evidence.folder / "executed-1.jsonl").read_text().splitlines())
        assert evidence.ledger.summary is not None
        assert evidence.ledger.summary.unrouted_at == end.unrouted

    @pytest.mark.parametrize(
        ("hook", "told"),
        [
            (SleepHook(seconds=0.2), "sleep 0.2 s was over"),
            (HttpGetHook(path="/anything"), "GET /anything (http) was answered with 200"),
        ],
    )
    def test_other_kinds_of_hooks(self, tmp_path: Path, hook: Hook, told: str) -> None:
        end = PodEnd.of(ended(tmp_path, tiny(pod=Pod(grace_period=20.0, pre_stop=hook))))
        assert (end.hook, end.hook_because, end.killed) == ("done", told, None)

    @pytest.mark.parametrize(
        ("hook", "told"),
        [
            (ExecHook(command=("sh", "-c", "echo no >&2; exit 3")), "ended with status 3: no"),
            (ExecHook(command=("/no/such/hook",)), "'/no/such/hook' does not exist"),
        ],
    )
    def test_a_hook_that_fails_is_told_and_the_signal_follows(self, tmp_path: Path, hook: Hook, told: str) -> None:
        evidence = ended(tmp_path, tiny(pod=Pod(grace_period=20.0, pre_stop=hook)))
        end = PodEnd.of(evidence)
        assert end.hook == "failed" and told in end.hook_because
        assert [e for e in order(evidence) if e != "endpoint_removed"] == [
            "pod_deleted",
            "pre_stop_started",
            "pre_stop_ended",
            "stop_signal_sent",
            "exit",
        ]

    def test_a_hook_that_hangs_is_left_behind_and_ends_with_the_container(self, tmp_path: Path) -> None:
        hook = ExecHook(command=("sh", "-c", "echo $$ > hook.pid; exec sleep 600"))
        target = tiny(pod=Pod(grace_period=3.0, pre_stop=hook), folder=tmp_path)
        evidence = ended(tmp_path, target)
        end = PodEnd.of(evidence)
        assert end.hook == "hung" and end.hook_seconds >= 3.0 - 0.5
        assert end.stopped is not None and end.stopped >= end.deleted + 3.0
        assert evidence.fault["left_for_drain"] == MINIMUM_GRACE
        assert not psutil.pid_exists(int((tmp_path / "hook.pid").read_text()))

    def test_a_hook_that_began_late_is_not_said_to_have_hung(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a slow engine took away from it is not the hook's: it might have ended in time."""
        execute = ProcessInstance.execute

        def late(instance: ProcessInstance, *arguments: Any, **more: Any) -> Executed:
            instance.wait_exit(until=time.monotonic() + 3.0)
            return execute(instance, *arguments, **more)

        monkeypatch.setattr(ProcessInstance, "execute", late)
        hook = ExecHook(command=("sleep", "600"))
        evidence = ended(tmp_path, tiny(pod=Pod(grace_period=8.0, pre_stop=hook), folder=tmp_path))
        assert evidence.fault["pre_stop"]["outcome"] == "hung"
        with pytest.raises(Inconclusive, match=r"the preStop hook began \d+\.\d s late"):
            PodEnd.of(evidence)

    def test_who_ignores_the_signal_is_killed_with_everything(self, tmp_path: Path) -> None:
        pod = Pod(grace_period=3.0, pre_stop=SleepHook(seconds=0.5))
        evidence = ended(tmp_path, tiny("ignore-sigterm", pod=pod))
        end = PodEnd.of(evidence)
        assert order(evidence)[-2:] == ["sigkill_sent", "exit"]
        assert end.killed is not None and end.stopped is not None
        assert end.killed >= end.stopped + 3.0 - end.hook_seconds
        assert (end.drain, end.spent) == (None, None)
        assert evidence.exit is not None and evidence.exit.status == 128 + 9
        assert evidence.fault["disposition"] == "ignored"
        assert evidence.gone is not None

    def test_a_hook_may_end_the_server_itself(self, tmp_path: Path) -> None:
        pod = Pod(grace_period=20.0, pre_stop=ExecHook(command=(sys.executable, "-c", QUIT)))
        evidence = ended(tmp_path, tiny(pod=pod))
        end = PodEnd.of(evidence)
        assert (end.stopped, end.killed) == (None, None)
        assert "stop_signal_sent" not in order(evidence)
        assert evidence.exit is not None and evidence.exit.code == 0
        assert "ended before SIGTERM" in evidence.fault["because"]


class TestChangedHooks:
    def test_a_hanging_hook_needs_nothing_of_the_target(self, tmp_path: Path) -> None:
        pod = Pod(grace_period=1.0, pre_stop=ExecHook(command=("never", "run")))
        evidence = ended(tmp_path, tiny(pod=pod), hook="hangs")
        assert PodEnd.of(evidence).hook == "hung"
        assert not (evidence.folder / "executed-1.jsonl").exists()

    def test_it_does_not_use_up_a_long_grace_period(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("drainproof.faults.pod.HANGS_FOR", 1.0)
        pod = Pod(grace_period=600.0, pre_stop=SleepHook(seconds=1.0))
        evidence = ended(tmp_path, tiny(pod=pod), hook="hangs")
        assert PodEnd.of(evidence).hook == "hung"
        assert evidence.fault["grace_period"] == 1.0

    def test_a_failing_hook_fails(self, tmp_path: Path) -> None:
        pod = Pod(grace_period=20.0, pre_stop=SleepHook(seconds=600.0))
        end = PodEnd.of(ended(tmp_path, tiny(pod=pod), hook="fails"))
        assert end.hook == "failed" and end.killed is None


class TestNotApplicable:
    def test_without_a_pod(self, tmp_path: Path) -> None:
        with pytest.raises(Unsupported, match=r"declare \[pod\]"):
            ended(tmp_path, tiny(pod=None))

    @pytest.mark.parametrize("hook", ["hangs", "fails"])
    def test_without_a_hook_that_could_hang_or_fail(self, tmp_path: Path, hook: str) -> None:
        with pytest.raises(Unsupported, match="no preStop hook"):
            ended(tmp_path, tiny(pod=Pod()), hook=hook)

    def test_evidence_of_something_else_is_no_end_of_a_pod(self, tmp_path: Path) -> None:
        with Laboratory(target=tiny(pod=Pod()), folder=tmp_path, progress=lambda text: None) as laboratory:
            evidence = laboratory.experiment(scenario="x", title="x").run(
                load=[steady(rate=20)], faults=[at_steady_state(signal("SIGTERM"))]
            )
        with pytest.raises(Inconclusive, match="no pod was deleted"):
            PodEnd.of(evidence)
