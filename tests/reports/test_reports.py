"""The reports, from made-up results: whatever a target printed, machines can read them and people are not harmed."""

from __future__ import annotations

import json
import math
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from drainproof.text import json_value, printable, shortened
from drainproof.verdict import OUTCOMES, Gate, Known, Results, Stale, Verdict
from drainproof_reports import junit, results_json, terminal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

VERDICT = Verdict(
    requirement="DRAIN-1",
    level="MUST",
    rule="Every request that was accepted before the signal gets its answer.",
    scenario="drain.TestStop[SIGTERM-main-1w]",
    title="SIGTERM to the main process under load, 1 worker",
    check="test_answers",
    verdict="fail",
    summary="3 of 24 accepted requests were not answered",
    facts={"lost": 3, "accepted": 24, "first_lost_after_s": 0.012, "in_flight": 8},
    evidence="evidence/now/drain.TestStop",
    repeat="pytest --target=. -k 'drain.TestStop[SIGTERM-main-1w]'",
    duration=4.2,
    details="ERROR: lost it",
)
RESULTS = Results(
    target={"name": "mine", "folder": "/srv/mine", "manifest": {}},
    versions={"drainproof": "1", "python": "3", "platform": "linux", "target": {}},
    verdicts=(VERDICT,),
    started="2026-11-20T15:40:11+00:00",
    seconds=61.0,
    aborted=False,
)

anything = st.text(st.characters(codec=None, exclude_categories=()))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=6,
)
known = st.builds(Known, id=anything, reason=anything, link=anything)
verdicts = st.builds(
    Verdict,
    requirement=anything,
    level=st.sampled_from(["MUST", "SHOULD"]),
    rule=anything,
    scenario=anything,
    title=anything,
    check=anything,
    verdict=st.sampled_from(OUTCOMES),
    summary=anything,
    facts=st.dictionaries(anything, values, max_size=4),
    evidence=st.none() | anything,
    repeat=anything,
    duration=st.floats(0, 1e6),
    details=anything,
    known=st.none() | known,
    repetition=st.integers(0, 3),
)
gates = st.builds(
    Gate, rule=anything, passed=st.booleans(), reasons=st.tuples(anything), remarks=st.tuples(anything, anything)
)
results = st.builds(
    lambda verdicts, gate, stale, aborted, text: replace(
        RESULTS,
        verdicts=tuple(verdicts),
        gate=gate,
        stale=stale,
        aborted=aborted,
        target={"name": text, "folder": text, "manifest": {}},
    ),
    st.lists(verdicts, max_size=4),
    st.none() | gates,
    st.tuples(st.builds(Stale, known=known, why=anything)),
    st.booleans(),
    anything,
)
examples = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NASTY = "\x00\x01\x1b[31mred\x1b[0m\x7f\x85\u2028\ud800\udcff\ufffe\U0001fffe ]]> & < > \" '"


def parse(text: str) -> ET.Element:
    return ET.fromstring(text.encode("utf-8"))


@examples
@given(results)
def test_junit_is_valid_xml_whatever_the_target_said(results):
    root = parse(junit.document(results))
    own = results.aborted + (results.gate is not None)
    assert len(list(root.iter("testcase"))) == len(results.verdicts) + own


@examples
@given(results)
def test_results_json_fits_its_schema_whatever_the_target_said(results):
    document = results_json.document(results)
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator(json.loads(results_json.SCHEMA.read_text())).validate(document)
    text = json.dumps(document, allow_nan=False)
    text.encode("utf-8")
    assert json.loads(text) == document


@examples
@given(results, st.integers(40, 200))
def test_the_summary_is_harmless_whatever_the_target_said(results, width):
    for line in terminal.summary(results, folder=Path("report"), width=width):
        assert not {c for c in line.text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")}


def test_the_schema_is_one():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json.loads(results_json.SCHEMA.read_text()))


def test_junit_of_each_verdict():
    every = tuple(replace(VERDICT, requirement=f"DRAIN-{i}", verdict=o) for i, o in enumerate(OUTCOMES, 1))
    root = parse(junit.document(replace(RESULTS, verdicts=every)))
    children = {case.get("name"): [e.tag for e in case] for case in root.iter("testcase")}
    assert children == {
        "DRAIN-1": ["properties"],
        "DRAIN-2": ["properties", "failure"],
        "DRAIN-3": ["properties", "system-out"],
        "DRAIN-4": ["properties", "error"],
        "DRAIN-5": ["properties", "skipped"],
        "DRAIN-6": ["properties", "error"],
    }
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("6", "1", "2")


def test_what_a_test_case_of_junit_says():
    root = parse(junit.document(RESULTS))
    suite = root.find("testsuite")
    assert suite is not None
    assert suite.get("name") == "drain.TestStop[SIGTERM-main-1w]"
    case = suite.find("testcase")
    assert case is not None
    assert (case.get("name"), case.get("classname")) == ("DRAIN-1", "drain.TestStop[SIGTERM-main-1w]")
    assert float(case.get("time", "")) == 4.2
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert properties == {
        "verdict": "fail",
        "level": "MUST",
        "title": "SIGTERM to the main process under load, 1 worker",
        "evidence": "evidence/now/drain.TestStop",
        "fact.lost": "3",
        "fact.accepted": "24",
        "fact.first_lost_after_s": "0.012",
        "fact.in_flight": "8",
    }
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("message") == "3 of 24 accepted requests were not answered"
    assert "ERROR: lost it" in (failure.text or "")
    assert "repeat: pytest --target=." in (failure.text or "")


def test_two_checks_of_one_requirement_have_different_names_in_junit():
    both = (VERDICT, replace(VERDICT, check="test_more"))
    names = [case.get("name") for case in parse(junit.document(replace(RESULTS, verdicts=both))).iter("testcase")]
    assert names == ["DRAIN-1 test_answers", "DRAIN-1 test_more"]


def test_an_aborted_run_is_an_error_in_junit():
    root = parse(junit.document(replace(RESULTS, aborted=True, verdicts=())))
    assert root.get("errors") == "1"


def test_nasty_text_stays_recognisable():
    root = parse(junit.document(replace(RESULTS, verdicts=(replace(VERDICT, details=NASTY),))))
    text = "".join(root.itertext())
    assert "\\x00\\x01red\\x7f\\x85" in text
    assert "\\ud800\\udcff\\ufffe\\U0001fffe ]]> & < > \" '" in text


def test_a_report_takes_the_place_of_the_old_one_at_once(tmp_path):
    file = tmp_path / "results.json"
    results_json.write(replace(RESULTS, aborted=True), file)
    with file.open() as old:
        results_json.write(RESULTS, file)
        assert json.load(old)["aborted"]
    assert not json.loads(file.read_text())["aborted"]
    assert list(tmp_path.iterdir()) == [file]


def lines(results: Results) -> list[str]:
    return [line.text for line in terminal.summary(results, folder=Path("report"), width=100)]


def test_the_last_word():
    def last(*outcomes: str, **changes) -> list[str]:
        made = tuple(replace(VERDICT, verdict=o, requirement=f"DRAIN-{i}") for i, o in enumerate(outcomes, 1))
        return lines(replace(RESULTS, verdicts=made, **changes))[-4:]

    assert last("pass", "pass")[-3] == "mine keeps all 2 MUST requirements that were judged."
    assert last("pass", "fail")[-3] == "mine does not keep DRAIN-2."
    assert last("fail", "error")[-3] == "mine does not keep DRAIN-1. DRAIN-2 could not be judged everywhere."
    assert last("pass", "inconclusive")[-3] == "mine broke no rule that could be judged; DRAIN-2 could not be judged."
    assert last("unsupported")[-3] == "Nothing could be judged of mine."
    assert last("unsupported", "note")[-3] == "No MUST requirement was judged for mine."
    assert last("pass", "note", "note")[-2] == "1 pass, 2 notes in 1 scenario, 1 min 1 s"
    aborted = last("pass", aborted=True)
    assert aborted[-4] == "The run was aborted: what is missing here was not judged."
    assert aborted[-3] == "mine kept the 1 MUST requirements that were judged until then."


@pytest.mark.parametrize("evidence", ["../elsewhere/drain.TestStop", "evidence/drain.TestStop", "/abs/drain.TestStop"])
def test_where_the_evidence_is(evidence):
    text = "\n".join(lines(replace(RESULTS, verdicts=(replace(VERDICT, evidence=evidence),))))
    expected = {".": "elsewhere/drain.TestStop", "e": "report/evidence/drain.TestStop", "/": "/abs/drain.TestStop"}
    assert f"see      {expected[evidence[0]]}\n" in text


def test_printable_text():
    assert printable("a\x1b[1;31mb\x1b[0m\x1b]0;title\x07c\r\nd\te") == "abc\nd    e"
    assert printable("a\rb\x08\u202e") == "a\\x0db\\x08\\u202e"
    assert shortened("a long line", 6) == "a lon…"
    assert shortened("first\nsecond", 20) == "first…"


def test_json_values():
    assert json_value({1: math.nan, "a": {3, 1}, "b": Path("/x"), "c": "\udc80"}) == {
        "1": "nan", "a": [1, 3], "b": "/x", "c": "\\udc80",
    }  # fmt: skip
    deep: list = []
    deep.append(deep)
    json.dumps(json_value(deep))
