"""CONT-1: the stop of a container as an engine makes it."""

from __future__ import annotations

import pytest
from drainproof.scenario import (
    Evidence,
    Experiment,
    at_steady_state,
    hold,
    launched,
    requirement,
    signal,
    steady,
)

from drainproof_scenarios import _drain
from drainproof_scenarios._facts import Facts, rounded

IN_FLIGHT = 4
"""Requests that are held in flight."""


@launched("container")
class TestStopOfTheContainer:
    """The container is stopped, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment: load, and the signal that the image asks its engine for."""
        return experiment.run(
            load=[steady(rate=20), hold(IN_FLIGHT)],
            faults=[at_steady_state(signal("STOPSIGNAL"))],
            workers=workers,
        )

    @requirement("CONT-1")
    def test_pid_1_ends_by_itself(self, evidence: Evidence, facts: Facts) -> None:
        """PID 1 receives the stop signal, and ends by itself within the grace period."""
        evidence.require()
        fault, launch = evidence.fault, evidence.find("launch")
        assert launch is not None
        status = evidence.exit.status if evidence.exit else None
        facts(
            stop_signal=fault["signal"],
            pid_1=fault["main"]["is"],
            handler=fault["disposition"],
            exit_status=status,
            exit_after_s=rounded(evidence.exit_after),
            command=[*launch["entrypoint"], *launch["command"]],
        )
        facts.details("\n".join([fault["main"]["note"], fault["because"], *evidence.output.tail(5)]))
        assert evidence.exit is not None, f"{fault['signal']} did not end it: {_why(fault)}"
        assert status != KILLED, f"it was ended by SIGKILL (status {KILLED}), and not by itself"
        _drain.exits_in_grace(evidence, facts)
        facts.summary(f"PID 1 ended {rounded(evidence.exit_after)} s after {fault['signal']}, {_explained(status)}")


KILLED = 137


def _explained(status: int | None) -> str:
    """What an exit status of a container means."""
    if status is None:
        return "never"
    if status == KILLED:
        return "status 137: killed by SIGKILL (128 + 9), as at the end of a stop timeout or for want of memory"
    if status > 128:
        return (
            f"status {status}: 128 + {status - 128}, said by an init or a shell whose child died of that signal, or "
            "by a server that gives itself this status"
        )
    return f"status {status}"


def _why(fault: object) -> str:
    """Why a stop signal came to nothing."""
    assert isinstance(fault, dict)
    kind, handled = fault["main"]["is"], fault["disposition"]
    if kind == "shell":
        return f"{fault['main']['note']} (in a Dockerfile: CMD in exec form)"
    if handled == "default":
        return (
            "PID 1 has no handler for it, and the kernel drops what PID 1 does not handle. Handle it, or put an init "
            "in front"
        )
    if handled == "ignored":
        return "PID 1 ignores it"
    return f"PID 1 ({kind}) took it, and was still there when its grace period was over"
