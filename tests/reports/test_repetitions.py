"""What repeated runs show: how often a requirement held, how often it may fail unseen, and what flips."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import drainproof_scenarios
import pytest
from drainproof.verdict import Outcome, Results, Verdict, repeated
from drainproof_reports import results_json, terminal
from drainproof_reports.repetitions import CONFIDENCE, COUNTINGS, percent, repetitions, upper_bound

from tests.reports.test_reports import RESULTS, VERDICT


def run(
    number: int, outcome: Outcome = "pass", *, scenario: str = "drain.TestStop[SIGTERM-main-1w]", **changes
) -> Verdict:
    """A verdict of the run `number` of a scenario."""
    return replace(
        VERDICT,
        scenario=repeated(scenario, number),
        title=f"{VERDICT.title}, run {number}",
        verdict=outcome,
        repetition=number,
        facts=changes.pop("facts", {"accepted_before_signal": 24, "answered": 24, "lost": 0}),
        **changes,
    )


def results(*verdicts: Verdict) -> Results:
    return replace(RESULTS, verdicts=verdicts)


def test_nothing_was_repeated():
    assert repetitions(RESULTS) is None
    assert "repetitions" not in results_json.document(RESULTS)


def test_every_run_held():
    found = repetitions(results(*(run(number) for number in range(1, 41))))
    [one] = found.requirements
    assert (found.repeat, one.requirement, one.held, one.runs.of, one.not_judged, one.flipped) == (
        40, "DRAIN-1", 40, 40, 0, (),
    )  # fmt: skip
    assert (one.counted.what, one.counted.failed, one.counted.of) == ("requests lost", 0, 960)
    # For no failures in n, the bound of Clopper and Pearson has a closed form.
    assert math.isclose(one.runs.at_most, 1 - (1 - CONFIDENCE) ** (1 / 40), rel_tol=1e-9)
    assert math.isclose(one.counted.at_most, 1 - (1 - CONFIDENCE) ** (1 / 960), rel_tol=1e-9)


@pytest.mark.parametrize(("failed", "of"), [(0, 1), (0, 20), (1, 20), (3, 1000), (19, 20)])
def test_the_bound_is_the_rate_at_which_so_few_failures_have_a_probability_of_5_percent(failed, of):
    p = upper_bound(failed, of)
    tail = sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(failed + 1))
    assert math.isclose(tail, 1 - CONFIDENCE, rel_tol=1e-6)


def test_bounds_at_the_ends():
    assert upper_bound(0, 0) is None
    assert upper_bound(7, 7) == 1.0


def test_a_flip_is_a_finding_of_its_own():
    found = results(run(1), run(2, "fail", facts={"accepted_before_signal": 24, "lost": 3}), run(3))
    [one] = repetitions(found).requirements
    assert (one.held, one.runs.failed, one.flipped) == (2, 1, ("drain.TestStop[SIGTERM-main-1w]",))
    assert (one.counted.failed, one.counted.of) == (3, 72)
    text = [line.text for line in terminal.summary(found, folder=results_json.SCHEMA.parent, width=150)]
    assert "FLIPS  DRAIN-1  held in 2 of 3 runs of SIGTERM to the main process under load, 1 worker" in text


def test_a_requirement_that_always_fails_does_not_flip():
    [one] = repetitions(results(*(run(n, "fail", facts={}) for n in (1, 2)))).requirements
    assert (one.held, one.runs.failed, one.flipped, one.counted) == (0, 2, (), None)


def test_a_note_flips_as_well():
    [one] = repetitions(results(run(1, level="SHOULD"), run(2, "note", level="SHOULD", facts={}))).requirements
    assert one.flipped


def test_scenarios_are_told_apart_and_put_together():
    other = "drain.TestStop[SIGINT-main-1w]"
    found = repetitions(results(run(1), run(2), run(1, scenario=other), run(2, "fail", scenario=other, facts={})))
    assert [(each.scenario, each.held, each.runs.of) for each in found.scenarios] == [
        ("drain.TestStop[SIGTERM-main-1w]", 2, 2),
        (other, 1, 2),
    ]
    [one] = found.requirements
    assert (one.held, one.runs.of, one.flipped) == (3, 4, (other,))
    assert one.counted is None  # one of the runs counts nothing


def test_what_was_not_judged_is_no_evidence_of_anything():
    [one] = repetitions(results(run(1), run(2, "inconclusive"), run(3, "error"))).requirements
    assert (one.held, one.runs.of, one.not_judged, one.flipped) == (1, 1, 2, ())
    assert one.counted.of == 24
    [none] = repetitions(results(run(1, "inconclusive"))).requirements
    assert (none.runs.of, none.runs.at_most) == (0, None)
    assert repetitions(results(run(1, "unsupported"))).requirements == ()


def test_a_run_holds_where_all_its_checks_of_the_requirement_do():
    both = (run(1), run(1, "fail", check="test_more", facts={}), run(2), run(2, check="test_more", facts={}))
    [one] = repetitions(results(*both)).requirements
    assert (one.held, one.runs.failed) == (1, 1)


def test_a_failure_for_another_reason_gives_no_bound_on_requests():
    """The server died: that no request was lost says nothing good about it."""
    [one] = repetitions(results(run(1), run(2, "fail"))).requirements
    assert one.counted is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"arrived_after_signal": 10, "failed": 1, "accepted_unread_and_lost": 2}, ("requests failed", 3, 12)),
        ({"http_accepted": 3, "http_lost": 0, "grpc_accepted": 4, "grpc_lost": 1}, ("requests and calls lost", 1, 7)),
        ({"requests": 5, "hung": 2}, ("requests hung", 2, 5)),
    ],
)
def test_what_checks_count(facts, expected):
    [one] = repetitions(results(run(1, "fail", facts=facts))).requirements
    assert (one.counted.what, one.counted.failed, one.counted.of) == expected


def test_the_scenarios_have_the_facts_that_are_counted():
    """A fact that gets another name would take the bound away in silence."""
    folder = Path(drainproof_scenarios.__file__).parent
    source = "\n".join(file.read_text() for file in folder.glob("*.py"))
    names = {name for counting in COUNTINGS for name in (*counting.failed, *counting.of)}
    missing = {name for name in names if f"{name}=" not in source and f'_{name.partition("_")[2]}":' not in source}
    assert not missing


@pytest.mark.parametrize("lost", [True, "3", -1, 25, 1.5, None, [1], 10**400])
def test_facts_that_are_no_counts_are_not_counted(lost):
    [one] = repetitions(results(run(1, facts={"accepted_before_signal": 24, "lost": lost}))).requirements
    assert one.counted is None


def test_results_json_fits_its_schema():
    jsonschema = pytest.importorskip("jsonschema")
    found = results(run(1), run(2, "fail", facts={}), run(1, "inconclusive", requirement="EXIT-1"))
    document = json.loads(json.dumps(results_json.document(found)))
    jsonschema.Draft202012Validator(json.loads(results_json.SCHEMA.read_text())).validate(document)
    assert document["repetitions"]["method"] == "Clopper-Pearson, one-sided upper bound"
    assert document["repetitions"]["requirements"][0]["held"] == 1
    read_back = Results.from_json(document)
    assert repetitions(read_back) == repetitions(found)


def test_the_lines_of_the_summary():
    found = results(*(run(number) for number in range(1, 21)))
    text = [line.text for line in terminal.summary(found, folder=results_json.SCHEMA.parent, width=150)]
    assert text[:2] == [
        "Each scenario was run 20 times; upper bounds at 95 % (one-sided, Clopper-Pearson):",
        "  DRAIN-1  held in 20 of 20 runs (rate of failures at most 14 %); 0 of 480 requests lost: at most 0.63 %",
    ]


def told(*verdicts: Verdict) -> list[str]:
    return [line.text for line in terminal.summary(results(*verdicts), folder=results_json.SCHEMA.parent, width=150)]


def test_runs_of_several_scenarios_say_so():
    """Twelve scenarios of twenty runs say little about one of them."""
    every = [run(number, scenario=f"drain.Test{which}", facts={}) for which in range(12) for number in range(1, 21)]
    assert told(*every)[1] == (
        "  DRAIN-1  held in 240 of 240 runs of 12 scenarios (rate of failures at most 1.3 % over all of them, 14 % in "
        "one of them)"
    )
    [one] = repetitions(results(*every, run(1, "inconclusive", scenario="drain.TestMore"))).requirements
    assert (one.pooled, one.not_judged) == (12, 1)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([[3], [3]], "Each scenario was run once;"),
        ([[1, 2, 3], [1]], "Each scenario was run 1 to 3 times;"),
        ([[2, 3], [1, 3]], "Each scenario was run 2 times;"),
    ],
)
def test_how_often_scenarios_really_ran(numbers, said):
    """A selection (`-k r3`) or an abort leaves runs out."""
    every = [run(n, scenario=f"drain.Test{which}") for which, runs in enumerate(numbers) for n in runs]
    assert told(*every)[0].startswith(said)
    found = repetitions(results(*every))
    assert (found.least, found.repeat) == (min(map(len, numbers)), max(map(len, numbers)))


def test_one_run_is_one_run():
    assert "held in 1 of 1 run (rate of failures at most 95 %)" in told(run(3, facts={}))[1]
    assert "could not be judged in 1 of 1 run" in " ".join(told(run(3, "inconclusive")))


def test_requests_that_two_checks_count_are_counted_once():
    both = [
        run(n, check=check, facts={"accepted_before_signal": 24, "lost": lost})
        for n in (1, 2)
        for check, lost in (("test_a", 0), ("test_b", n - 1))
    ]
    [one] = repetitions(results(*both)).requirements
    assert (one.counted.failed, one.counted.of) == (1, 48)


def test_the_last_line_tells_runs_from_scenarios():
    every = [run(number, scenario=f"drain.Test{which}") for which in range(2) for number in (1, 2, 3)]
    assert any(line.startswith("6 pass in 6 runs of 2 scenarios, ") for line in told(*every))
    assert any(line.startswith("1 pass in 1 scenario, ") for line in told(run(1)))


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.003116, "0.32 %"), (0.1391, "14 %"), (0.4507, "46 %"), (1.0, "100 %"), (0.996, "100 %"), (4.7e-6, "0.00047 %")],
)
def test_percent_is_never_rounded_down(rate, text):
    assert percent(rate) == text


def test_scipy_is_imported_where_something_was_repeated_and_nowhere_else():
    code = (
        "import sys; from drainproof_reports import results_json\n"
        "from tests.reports.test_reports import RESULTS\n"
        "results_json.document(RESULTS)\n"
        "print('scipy' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
