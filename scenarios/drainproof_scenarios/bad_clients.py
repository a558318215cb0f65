"""EXC-6 and EXC-7: clients that send malformed input, and clients that vanish."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from drainproof.faults.bad_clients.cases import Case, read_cases
from drainproof.faults.bad_clients.leaks import found, memory_steps
from drainproof.faults.bad_clients.rules import failing
from drainproof.load.plan import Steady
from drainproof.scenario import (
    Evidence,
    Experiment,
    Inconclusive,
    UntilGoneOrServing,
    malformed_requests,
    requirement,
    steady,
    vanishing_clients,
    when_every_worker_served,
)

from drainproof_scenarios._facts import Facts, rounded

MOST, SHARE = 25.0, 0.15
"""Ordinary requests per second on new and on reused connections each, and the share of the time of a server that works
on one at a time which each of the two may take: it must not be our load that nobody gets an answer in."""


def ordinary(run: Experiment) -> list[Steady]:
    """The other clients: quick requests only."""
    rate = min(MOST, SHARE / max(run.target.fast().duration, 0.001))
    return [steady(rate=rate, connections="new"), steady(rate=rate, connections="reuse")]


SHOWN = 300
"""Characters of a failing case that are shown; all of it is in the evidence."""


class TestMalformedRequests:
    """Malformed input beside ordinary requests, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=ordinary(experiment),
            faults=[when_every_worker_served(malformed_requests())],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-6")
    def test_is_refused_with_a_4xx(self, evidence: Evidence, facts: Facts) -> None:
        """Each class of malformed input is answered as HTTP allows: no 5xx, no silence, no success that is none."""
        lines = [line for line in read_cases(evidence.folder) if line["counts"]]
        wrong = failing(lines)
        outcomes = Counter(str(line["status"] or line["outcome"]) for line in lines)
        facts(
            failing={name: what for name, (what, _) in wrong.items()},
            cases=len(lines),
            classes=len({line["class"] for line in lines}),
            outcomes=dict(outcomes.most_common()),
            slowest_s=rounded(max((line["t"] - line["t0"] for line in lines), default=None)),
        )
        facts.summary(
            f"{len(lines)} malformed requests of {len({line['class'] for line in lines})} classes were refused"
        )
        shown = [text for name, (what, line) in wrong.items() for text in both_sides(name, what, line)]
        if shown:
            again = shlex.join(["python", "-m", "drainproof.faults.bad_clients", str(evidence.folder)])
            shown.append(f"again: {again} --port PORT")
        facts.details("\n".join(shown))
        assert not wrong, "; ".join(f"{name}: {what}" for name, (what, _) in wrong.items())
        evidence.require()

    @requirement("EXC-6")
    def test_costs_nobody_else_anything(self, evidence: Evidence, facts: Facts) -> None:
        """Every other request gets its right answer, and the server goes on serving."""
        nobody_else_pays(evidence, facts)


class TestVanishingClients:
    """1,000 clients that vanish in the middle of their requests, {workers}."""

    @pytest.fixture(scope="class")
    @classmethod
    def evidence(cls, experiment: Experiment, workers: int) -> Evidence:
        """The experiment."""
        return experiment.run(
            load=ordinary(experiment),
            faults=[when_every_worker_served(vanishing_clients(1000))],
            workers=workers,
            observe=UntilGoneOrServing(),
        )

    @requirement("EXC-7")
    def test_costs_nobody_else_anything(self, evidence: Evidence, facts: Facts) -> None:
        """Every other request gets its right answer, and the server goes on serving."""
        behind = evidence.fault["waited_behind"]
        facts(waited_behind_them=behind["right"] + behind["wrong"], without_right_answer=behind["wrong"])
        facts.details("\n".join(str(event["wrong"]) for event in evidence.all("behind_the_crowd")))
        assert not behind["wrong"], f"{behind['wrong']} who came right behind clients that vanished got no right answer"
        nobody_else_pays(evidence, facts)

    @requirement("EXC-7")
    def test_leaks_nothing(self, evidence: Evidence, facts: Facts) -> None:
        """Descriptors, threads and memory of all its processes do not grow with the clients that vanish."""
        readings = evidence.all("holding")
        leaks = found(readings)
        facts(
            vanished=evidence.fault["vanished"],
            descriptors=[reading["descriptors"] for reading in readings if reading["at_rest"]],
            threads=[reading["threads"] for reading in readings if reading["at_rest"]],
            bytes_for_each_client=memory_steps(readings),
            by_stage=dict(evidence.fault["by_stage"]),
        )
        facts.summary(f"{evidence.fault['vanished']} clients that vanished left nothing behind")
        if evidence.exit is not None:
            raise Inconclusive("it ended, so nothing can be said about what it keeps")
        evidence.require()
        assert not leaks, f"after {evidence.fault['vanished']} clients that vanished: {', '.join(leaks.values())}"


def both_sides(name: str, what: str, line: Mapping[str, Any]) -> list[str]:
    """The smallest failing case of a class and its answer, as lines; only the body where that is what is wrong."""
    sent = str(Case.from_json(dict(line)))
    if name.startswith(("json-", "utf-8")):
        sent = "… '" + sent.partition("\\r\\n\\r\\n")[2]
    answer = line.get("answer", "").splitlines()[:1]
    return [f"{name}: {what} (case {line['case']})", f"  > {sent[:SHOWN]}", *(f"  < {text[:SHOWN]}" for text in answer)]


def nobody_else_pays(evidence: Evidence, facts: Facts) -> None:
    """Every ordinary request that ran beside the bad clients was answered rightly, and the target serves on.

    Inconclusive where ordinary requests failed before them as well, or where they were not there.
    """
    begin, end = float(evidence.fault["t"]), float(evidence.fault["until"])
    others = evidence.requests.where(lambda j: j.record.end > begin and j.record.due < end)
    lost = others.where(lambda j: j.fate not in ("right", "unfinished", "crossing"))
    looks = evidence.all("serving_after_fault")
    facts(
        other_requests=len(others),
        without_right_answer=len(lost),
        fates=others.fates(),
        slowest_s=rounded(max((j.record.latency for j in others), default=None)),
        serving_afterwards=bool(looks and looks[-1]["serving"]),
    )
    facts.summary(f"all {len(others)} other requests got their right answer, and it serves on")
    facts.details("\n".join(lost.lines()))
    assert evidence.exit is None, f"it ended with status {evidence.exit and evidence.exit.status}"
    if evidence.requests.before().not_answered():
        raise Inconclusive("ordinary requests were not answered rightly before the bad clients came either")
    assert not lost, f"{len(lost)} of {len(others)} requests of others got no right answer"
    assert looks and looks[-1]["serving"], "it does not serve any more"
    evidence.require()
    if not others:
        raise Inconclusive("no other request ran at that time")
