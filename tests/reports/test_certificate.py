"""The certificate, from made-up results and evidence: says what there is, or honestly less, and harms nobody."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drainproof.requirement import catalogue
from drainproof.text import UNPRINTABLE
from drainproof.verdict import OUTCOMES, Bundle, Gate, Known, Results, Stale
from drainproof_reports import certificate, pytest_drainproof_report
from drainproof_reports.certificate import rendering
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reports import drains
from tests.reports.drains import verdict
from tests.reports.pages import Seen, seen


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report folder with the evidence of one drain."""
    drains.write(tmp_path / "evidence" / "now" / "drain")
    return tmp_path


# What it says


def test_it_says_at_once_what_is_broken_and_what_proves_it(report: Path) -> None:
    kept = verdict(requirement="EXIT-1", verdict="pass", summary="exit status 0", check="test_exit_status")
    page = seen(drains.results(verdict(), kept), report)
    for text in (
        "not conforming",
        "It breaks 1 of the 2 requirements that were judged.",
        "DRAIN-1 Accepted requests get their answer",
        "3 of 7 accepted requests got no right answer",
        "in 1 of 1 scenario",
        "10 requests a second of “fast”, each on a new connection",
        "SIGTERM to the main process, at steady state",
        "SIGTERM was sent, and taken",
        "Accepted requests get their answer",
        "#19 fast (steady-new, new connection): cut, eof while body",
        "pytest --target=. -k 'drain.TestStop[SIGTERM-main-1w]'",
        "drained",
        "Grace period 5 s",
        "specification 2026.11",
        "uvicorn",
    ):
        assert text in page.text, text


@pytest.mark.parametrize(
    ("outcome", "overall", "sentence"),
    [
        ("pass", "conforming", "It keeps the one requirement that was judged."),
        (
            "note",
            "conforming with notes",
            "It does not break the one requirement that was judged; it is a SHOULD, and did not hold",
        ),
        ("inconclusive", "incomplete", "1 could not be judged everywhere"),
        ("unsupported", "incomplete", "Nothing could be judged in this run."),
    ],
)
def test_it_says_what_the_results_say(report: Path, outcome: Any, overall: str, sentence: str) -> None:
    results = drains.results(verdict(verdict=outcome))
    assert results.overall == overall
    page = seen(results, report)
    assert overall in page.text
    assert sentence in page.text


def test_what_was_not_tested_is_listed(report: Path) -> None:
    text = seen(drains.results(verdict()), report).text
    listed = text.partition("Not tested in this run")[2].partition("How long it takes")[0]
    assert "DRAIN-1 " not in listed
    for requirement in catalogue().values():
        if requirement.id != "DRAIN-1":
            assert f"{requirement.id} {requirement.title}" in listed


def test_every_field_of_the_grid_leads_to_its_verdict(report: Path) -> None:
    many = [
        verdict(scenario=f"drain.TestStop[SIGTERM-main-{n}w]", requirement=name, verdict=outcome)
        for n, outcome in enumerate(OUTCOMES)
        for name in ("DRAIN-1", "EXIT-1", "START-1", "MINE-1")
    ]
    page = seen(drains.results(*many), report)
    assert len([link for link in page.links if re.fullmatch(r"#v\d+", link)]) >= len(many)
    assert "r-MINE-1" in page.ids


def test_what_was_declared_and_decided_is_shown(report: Path) -> None:
    known = Known(id="DRAIN-1", reason="being mended", link="https://tracker.invalid/7")
    results = drains.results(
        verdict(known=known),
        deselected=12,
        gate=Gate(rule="must", passed=False, reasons=("DRAIN-1 does not hold",)),
        stale=(Stale(known=replace(known, id="EXIT-1"), why="it holds now"),),
        bundle=Bundle(folder="evidence/now", digests="ab" * 32),
        target={"name": "made-up", "manifest": {}, "digest": "sha256:1234", "version": "0.21.0"},
    )
    text = seen(results, report).text
    for words in (
        "being mended",
        "https://tracker.invalid/7",
        "12 checks deselected",
        "is closed",
        "DRAIN-1 does not hold",
        "EXIT-1 it holds now",
        "sha256:" + "ab" * 32,
        "sha256:1234",
        "0.21.0",
    ):
        assert words in text, words


def test_what_is_known_in_one_scenario_alone_is_not_said_to_be_known(report: Path) -> None:
    known = Known(id="DRAIN-1 a.TestX", reason="only with X", link="https://tracker.invalid/1")
    x, y = verdict(scenario="a.TestX", known=known), verdict(scenario="a.TestY", summary="a new failure")
    text = seen(drains.results(x, y), report).text
    finding = text.partition("What is broken")[2].partition("What holds where")[0]
    assert "A new failure" in finding
    assert "known in 1 of 2 scenarios: only with X" in finding


def test_remarks_of_the_gate_are_told(report: Path) -> None:
    gate = Gate(rule="no-regression:b", passed=True, reasons=(), remarks=("the baseline was aborted",) * 50)
    text = seen(drains.results(verdict(verdict="pass"), gate=gate), report).text
    assert "is open. To be known besides: the baseline was aborted" in text
    assert "10 more in results.json" in text


@pytest.mark.parametrize("length", [10, 100, 3000])
def test_lines_of_details_that_are_left_out_are_counted(report: Path, length: int) -> None:
    details = "\n".join(f"line {n} " + "x" * length for n in range(1000))
    text = seen(drains.results(verdict(details=details)), report).text
    assert "… 976 more lines in results.json" in text
    assert "line 23 x" in text


def test_what_is_broken_here_and_not_decided_there_is_both(report: Path) -> None:
    failed = verdict(scenario="b.TestB", verdict="error", summary="no connection to the engine")
    page = seen(drains.results(verdict(), failed), report)
    assert "It breaks the one requirement that was judged; 1 could not be judged everywhere." in page.text
    assert "1 not decided" in page.text
    assert "No connection to the engine" in page.text.partition("What could not be decided")[2].partition("rules")[0]


def test_a_check_that_died_is_no_requirement(report: Path) -> None:
    died = verdict(requirement="-", rule="", scenario="own/drain.py", verdict="error", summary="the worker died")
    page = seen(drains.results(verdict(verdict="pass"), died), report)
    assert "1 check died with a worker of the run" in page.text
    assert "The worker died" in page.text
    assert "0 not decided" in page.text
    assert "r--" not in page.ids


def test_no_requirement_takes_the_place_of_a_part_of_the_page(report: Path) -> None:
    page = seen(drains.results(*(verdict(requirement=name) for name in ("v1", "about", "grid", "x1"))), report)
    assert {"r-v1", "r-about", "r-grid", "r-x1"} <= set(page.ids)


@pytest.mark.parametrize("hidden", ["\u061c", "\u200b", "\ufeff", "\U000e0041", "\u2060"])
def test_what_cannot_be_seen_is_shown(report: Path, hidden: str) -> None:
    certificate.write(drains.results(verdict(title=f"a{hidden}b", summary=f"c{hidden}d")), report)
    text = (report / certificate.FILE).read_text()
    assert hidden not in text
    assert f"{ord(hidden):x}" in text.lower()


def test_the_schedule_and_the_advice_are_drawn(report: Path) -> None:
    schedule = {"observed_s": [0.4, 0.8], "declared_s": [0.4, 0.8], "schedule": "doubling"}
    restarts = verdict(requirement="WORK-4", verdict="pass", facts=schedule, evidence=None)
    pod = verdict(requirement="CONT-3", verdict="pass", evidence=None, facts={"pre_stop_s": 0, "drain_s": 2.0})
    text = seen(drains.results(restarts, pod), report).text
    assert "0.80 s of 0.80 s" in text
    assert "terminationGracePeriodSeconds: 3" in text


def test_a_line_that_came_in_pieces_is_one_line(report: Path) -> None:
    pieces = [{"t": 100.0, "stream": "stderr", "text": "<b>" * 100, "cut": True}] * 50
    rest = [{"t": 100.0, "stream": "stderr", "text": "end"}, {"t": 100.5, "stream": "stderr", "text": "the next line"}]
    ends = [{"t": 101.0, "end": "stdout"}, {"t": 101.0, "end": "stderr"}]
    file = report / "evidence" / "now" / "drain" / "output.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in (*pieces, *rest, *ends)))
    text = seen(drains.results(verdict()), report).text
    log = text.partition("What it printed last")[2].partition("Repeat")[0]
    assert [line[:5] for line in re.findall(r"[+-]\d\.\d{3} s (.{5})", log)] == ["<b><b"[:5], "the n"]


# When it is written


def test_it_is_written_when_a_run_is_over_and_not_before(report: Path) -> None:
    results = drains.results(verdict(), aborted=True)
    pytest_drainproof_report(results, report)
    assert not (report / certificate.FILE).exists()
    pytest_drainproof_report(replace(results, bundle=Bundle(folder="evidence/now", digests="00")), report)
    assert "the run was cut short" in (report / certificate.FILE).read_text()
    (report / certificate.FILE).unlink()
    pytest_drainproof_report(replace(results, aborted=False), report)
    assert (report / certificate.FILE).exists()


def test_it_can_be_written_from_the_report_folder_alone(report: Path) -> None:
    results = drains.results(verdict())
    pytest_drainproof_report(results, report)
    first = (report / certificate.FILE).read_text()
    content = json.loads((report / "results.json").read_text())
    certificate.write(Results.from_json(content), report)
    assert (report / certificate.FILE).read_text() == first


# What is wrong with the evidence


@pytest.mark.parametrize("name", ["experiment.json", "timeline.jsonl", "probes.jsonl", "ledger.jsonl", "output.jsonl"])
@pytest.mark.parametrize("content", [None, b"", b"[1]\n", b'{"t": "x"}\n', b"\xff\n{}\n", b'{"record": "request"}\n'])
def test_damaged_evidence_is_named_in_its_place(report: Path, name: str, content: bytes | None) -> None:
    file = report / "evidence" / "now" / "drain" / name
    before = len(seen(drains.results(verdict()), report).text)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    page = seen(drains.results(verdict()), report)
    assert "3 of 7 accepted requests got no right answer" in page.text
    if name == "experiment.json":
        assert "its evidence cannot be read" in page.text
    assert len(page.text) != before


def test_without_its_evidence_the_verdicts_stand(tmp_path: Path) -> None:
    text = seen(drains.results(verdict()), tmp_path).text
    assert "its evidence cannot be read" in text
    assert "3 of 7 accepted requests got no right answer" in text


# How large it is


def test_a_large_run_stays_small_and_says_what_is_left_out(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "ROOM", 200_000)
    many = [
        verdict(scenario=f"drain.TestStop[{n}]", verdict="pass" if n else "fail", summary=f"number {n}")
        for n in range(60)
    ]
    certificate.write(drains.results(*many), report)
    text = (report / certificate.FILE).read_text()
    assert len(text.encode()) < 400_000
    page = Seen(text)
    assert "left out to keep this page small" in page.text
    assert text.count('class="timeline"') >= 1  # what failed is shown in full
    assert "Number 59" in page.text


def test_one_value_cannot_fill_the_page(report: Path) -> None:
    huge = "x" * 10_000_000
    bad = verdict(summary=huge, details=huge, title=huge, rule=huge, facts={huge: huge}, repeat=huge)
    certificate.write(drains.results(bad, command=huge, started=huge), report)
    assert (report / certificate.FILE).stat().st_size < 1_000_000


# That it harms nobody

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=alert(1)>",
        "\x1b[31m",
        "</style>",
        "]]>",
        "{{ 1 }}",
        "\udcff",
    ]
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(anything, min_size=12, max_size=12), outcome=st.sampled_from(OUTCOMES))
def test_no_text_of_a_target_gets_out_of_its_place(tmp_path: Path, texts: list[str], outcome: Any) -> None:
    a, b, c, d, e, f, g, h, i, j, k, m = texts
    folder = tmp_path / "evidence" / "now" / "drain"
    if not folder.exists():
        drains.write(folder)
    lines = [{"t": 1.0, "stream": "stderr", "text": text} for text in texts]
    ends = [{"t": 1.0, "end": "stdout"}, {"t": 1.0, "end": "stderr"}]
    (folder / "output.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (*lines, *ends)))
    results = drains.results(
        verdict(requirement=a, rule=b, scenario=c, title=d, check=e, summary=f, facts={g: h}, details=i, repeat=j),
        verdict(verdict=outcome, known=Known(id=a, reason=b, link=c), facts={"observed_s": [1], k: [m, {g: h}]}),
        target={"name": k, "folder": m, "digest": a, "version": b, "manifest": {"policy": {c: d}, "command": [e]}},
        versions={"drainproof": f, "target": {"packages": {g: h}, "python": i}},
        started=j,
        gate=Gate(rule=k, passed=False, reasons=(m,)),
        stale=(Stale(known=Known(id=a, reason=b, link=c), why=d),),
    )
    text = rendering.render(results, tmp_path)
    page = Seen(text)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "img", "iframe", "object", "link", "form", "base", "image", "use"})
    assert not [name for name in page.attributes if name.startswith("on") or name in ("src", "style", "srcdoc")]
    assert not UNPRINTABLE.search(text)
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert text.count("</style>") == 1


def test_the_page_forbids_itself_what_it_does_not_need(report: Path) -> None:
    certificate.write(drains.results(verdict()), report)
    text = (report / certificate.FILE).read_text()
    assert "default-src 'none'" in text
    assert not re.search(r"(?i)https?://(?!tracker)", text.replace("http://www.w3.org/2000/svg", ""))
