"""The numbers that would fit, from made-up facts: a pure function."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from drainproof.verdict import Verdict
from drainproof_reports import pods, results_json, terminal

from tests.reports.test_reports import RESULTS, VERDICT


def end(**facts: Any) -> Verdict:
    """A verdict on CONT-3 with the facts of an ordinary end."""
    ordinary = {"pre_stop_s": 3.2, "drain_s": 1.0, "killed_after_s": None, "endpoint_removed_after_s": 2.1}
    return replace(VERDICT, requirement="CONT-3", verdict="pass", facts={**ordinary, **facts})


def advised(*verdicts: Verdict) -> pods.PodAdvice:
    found = pods.advice(replace(RESULTS, verdicts=verdicts))
    assert found is not None
    return found


def test_there_is_no_advice_without_the_end_of_a_pod() -> None:
    unsupported = replace(VERDICT, requirement="CONT-3", verdict="unsupported", facts={})
    for verdicts in ((), (VERDICT,), (unsupported,)):
        results = replace(RESULTS, verdicts=verdicts)
        assert pods.advice(results) is None
        assert pods.lines(results, 80) == []
        assert "pod_termination" not in results_json.document(results)


def test_the_hook_waits_for_the_slowest_endpoint_and_the_grace_period_for_the_longest_drain() -> None:
    found = advised(end(), end(drain_s=1.6, endpoint_removed_after_s=0.0), end(drain_s=0.8))
    assert (found.terminations, found.drain_median_s, found.drain_worst_s) == (3, 1.0, 1.6)
    assert (found.pre_stop_s, found.pre_stop_margin_s) == (3, pytest.approx(0.9))
    assert (found.grace_period_s, found.grace_period_margin_s) == (6, pytest.approx(1.4))
    assert yaml.safe_load(found.yaml) == {
        "spec": {
            "terminationGracePeriodSeconds": 6,
            "containers": [{"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}],
        }
    }


def test_a_server_that_serves_on_after_the_signal_needs_less_of_a_hook() -> None:
    lost = {"lost_after_stop_signal": 3}
    assert advised(end(served_after_stop_signal_s=1.2, **lost)).pre_stop_s == 2
    shortest = advised(end(served_after_stop_signal_s=1.2, **lost), end(served_after_stop_signal_s=0.0, **lost))
    assert shortest.pre_stop_s == 3


def test_what_was_served_to_the_last_is_no_limit_of_the_server() -> None:
    served = [end(pre_stop_s=0.0, endpoint_removed_after_s=t, served_after_stop_signal_s=t) for t in (1.0, 2.1)]
    assert advised(*served).pre_stop_s == 0
    lost = end(pre_stop_s=0.0, served_after_stop_signal_s=0.6, lost_after_stop_signal=2)
    assert advised(*served, lost).pre_stop_s == 2


def test_no_hook_where_none_is_needed() -> None:
    found = advised(end(endpoint_removed_after_s=1.0, served_after_stop_signal_s=5.0))
    assert (found.pre_stop_s, found.pre_stop_margin_s, found.grace_period_s) == (0, 0.0, 2)
    assert yaml.safe_load(found.yaml) == {"spec": {"terminationGracePeriodSeconds": 2}}


def test_a_long_drain_gets_a_larger_margin() -> None:
    found = advised(end(drain_s=20.0))
    assert found.grace_period_s == 28
    assert found.grace_period_margin_s == pytest.approx(5.0)


def test_a_drain_that_was_cut_off_is_not_guessed_at() -> None:
    cut = end(drain_s=None, killed_after_s=5.2)
    found = advised(cut)
    assert (found.drain_worst_s, found.drain_longer_than_s) == (None, pytest.approx(2.0))
    assert (found.grace_period_s, found.yaml) == (None, "")
    text = "\n".join(line.text for line in pods.lines(replace(RESULTS, verdicts=(cut,)), 80))
    assert "longer than the 2.0 s that it had" in text and "was not seen" in text
    assert advised(cut, end(drain_s=1.0)).grace_period_s is None  # the one that was cut off took longer
    assert advised(cut, end(drain_s=3.3)).grace_period_s == 8


def test_it_is_said_where_no_numbers_help() -> None:
    lost = replace(VERDICT, requirement="CONT-2", facts={"failed_otherwise": 3})
    assert advised(end(), lost, lost).failed_otherwise == 6
    text = "\n".join(line.text for line in pods.lines(replace(RESULTS, verdicts=(end(), lost)), 80))
    assert "but 3 requests failed for other reasons" in text


def test_facts_of_another_form_are_left_out() -> None:
    found = advised(end(drain_s="1", served_after_stop_signal_s=True, endpoint_removed_after_s=float("nan")), end())
    assert (found.drain_worst_s, found.served_after_stop_signal_s, found.endpoint_removed_after_s) == (1.0, 0.0, 2.1)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_summary_shows_it_and_results_json_has_it(width: int) -> None:
    results = replace(RESULTS, verdicts=(end(),))
    lines = [line.text for line in terminal.summary(results, folder=Path("report"), width=width)]
    assert "drain took 1.0 s (median), 1.0 s (worst)" in " ".join(" ".join(lines).split())
    assert "        spec:" in lines
    assert all(len(line) <= width for line in pods_lines(lines))
    document = results_json.document(results)
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(json.loads(results_json.SCHEMA.read_text())).validate(document)
    assert document["pod_termination"]["pre_stop_s"] == 3


def pods_lines(lines: list[str]) -> list[str]:
    begin = next(number for number, line in enumerate(lines) if line.startswith("Pod"))
    return lines[begin : lines.index("", begin)]
