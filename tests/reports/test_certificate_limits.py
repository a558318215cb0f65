"""However much a run has to say, and whatever was done to its evidence: it has a certificate that can be mailed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from drainproof.evidence import digests
from drainproof.verdict import Bundle, Results, Verdict, repeated
from drainproof_reports import certificate
from drainproof_reports.certificate import page

from tests.reports import drains
from tests.reports.drains import verdict
from tests.reports.pages import Seen, seen

MOST = 2_000_000
"""Bytes that a certificate may have."""

RULES = ["DRAIN-1", "DRAIN-2", "DRAIN-3", "DRAIN-5", "DRAIN-6", "DRAIN-8", "DRAIN-10"]
RULES += ["EXIT-1", "EXIT-3", "EXIT-4", "EXIT-5", "EXIT-6"]
SAYS = "all 20 requests that were accepted before the signal got their right answer"
MEASURED: dict[str, Any] = {"accepted_before_signal": 20, "answered": 20, "lost": 0, "fates": {"right": 20}}


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A report folder with the evidence of one drain."""
    drains.write(tmp_path / "evidence" / "now" / "drain")
    return tmp_path


def many(scenarios: int, *, repeat: int = 0, classes: int = 1, **values: Any) -> Iterator[Verdict]:
    """Twelve verdicts on each of so many scenarios, each run so often."""
    for number in range(scenarios):
        for run in range(1, repeat + 1) if repeat else (0,):
            scenario = f"drain.TestStop{number % classes}[SIGTERM-main-{number}w]"
            for rule in RULES:
                yield verdict(
                    requirement=rule,
                    check=f"test_{rule}",
                    scenario=repeated(scenario, run) if run else scenario,
                    repetition=run,
                    **values,
                )


def made(results: Results, folder: Path) -> Seen:
    """Its certificate, small enough."""
    found = seen(results, folder)
    assert "without its evidence" not in found.text
    assert (folder / certificate.FILE).stat().st_size < MOST
    return found


# How much there is to say

HOLDS: dict[str, Any] = {"verdict": "pass", "summary": SAYS, "facts": MEASURED, "details": "", "evidence": None}


@pytest.mark.parametrize(
    "verdicts",
    [
        pytest.param(tuple(many(1, repeat=400, **HOLDS)), id="one scenario 400 times"),
        pytest.param(tuple(many(82, repeat=10, classes=20, **HOLDS)), id="82 scenarios ten times"),
        pytest.param(tuple(many(1000, **HOLDS)), id="a thousand variants"),
        pytest.param(tuple(many(400, classes=400, **HOLDS)), id="400 classes"),
        pytest.param(
            tuple(many(78, evidence=None, summary="x y " * 230, details="line \n" * 500)), id="78 that fail at length"
        ),
        pytest.param(
            tuple(many(78, evidence=None, verdict="inconclusive", summary="<&\"'" * 4000)), id="78 escaped summaries"
        ),
        pytest.param(
            tuple(many(6, evidence=None, facts={f"fact_{n}": "v" * 150 for n in range(300)})), id="300 facts each"
        ),
        pytest.param(
            tuple(verdict(scenario=f"x.TestX[{n}]", summary="s" * 19_000, evidence=None) for n in range(78)),
            id="78 huge summaries",
        ),
        pytest.param(tuple(many(40, details="\x07" * 30_000)), id="evidence and bells"),
    ],
)
def test_a_large_run_has_a_certificate_that_can_be_mailed(report: Path, verdicts: tuple[Verdict, ...]) -> None:
    made(drains.results(*verdicts), report)


def test_what_has_no_room_is_counted(report: Path) -> None:
    plain = (verdict(scenario=f"drain.TestStop[{n}w]", **HOLDS) for n in range(8000))
    text = made(drains.results(verdict(summary="the one that fails"), *plain), report).text
    assert "The one that fails" in text
    assert "more scenarios like this, in results.json" in text


def test_the_runs_of_one_scenario_are_one_entry(report: Path) -> None:
    runs = (
        verdict(
            scenario=f"drain.TestStop[SIGTERM-main-1w-r{n}]",
            repetition=n,
            title=f"SIGTERM, run {n}",
            verdict="fail" if n in (7, 9) else "pass",
            summary=f"what run {n} says",
            facts={"lost": int(n in (7, 9)), "accepted_before_signal": 10},
        )
        for n in range(1, 21)
    )
    page_ = made(drains.results(*runs), report)
    assert [id_ for id_ in page_.ids if id_.startswith("x")] == ["x1"]
    assert "in 1 of 1 scenario, 2 of 20 runs" in page_.text
    assert "What run 7 says" in page_.text
    assert "2 of 20 runs" in page_.text
    assert "DRAIN-1 held in 18 of 20 runs" in page_.text
    assert "flips" in page_.text.lower()
    assert "Clopper-Pearson" in page_.text


# Whatever was done to the evidence

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("name", ["experiment.json", "timeline.jsonl", "probes.jsonl", "ledger.jsonl", "output.jsonl"])
@pytest.mark.parametrize("tail", [DEEP, '{"a":' * 50_000 + "1" + "}" * 50_000])
def test_deep_evidence_is_damaged_evidence(report: Path, name: str, tail: str) -> None:
    with (report / "evidence" / "now" / "drain" / name).open("a") as file:
        file.write(tail + "\n")
    text = made(drains.results(verdict()), report).text
    assert "RecursionError" in text or "is damaged" in text


@pytest.mark.parametrize("event", ["launch", "load", "fault", "exit", "gone", "observed"])
@pytest.mark.parametrize("moment", [float("nan"), float("inf"), 1e308, -1e308, "x", None, True, [1]])
def test_no_moment_of_an_event_ends_the_certificate(report: Path, event: str, moment: Any) -> None:
    file = report / "evidence" / "now" / "drain" / "timeline.jsonl"
    events = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(e | ({"t": moment} if e["event"] == event else {})) + "\n" for e in events))
    made(drains.results(verdict()), report)
    drawings = re.findall(r"(?s)<svg.*?</svg>", (report / certificate.FILE).read_text())
    assert not [drawing for drawing in drawings if re.search(r"\b(nan|inf)\b", drawing)]


@pytest.mark.parametrize("broken", ["_chapters", "_imprint"])
def test_a_defect_of_the_page_costs_the_page_and_not_the_run(
    report: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(page, broken, defect)
    text = seen(drains.results(verdict()), report).text
    assert "not conforming" in text
    assert "a defect of ours" in text
    assert "results.json" in text


def test_evidence_that_ends_the_drawing_leaves_the_verdicts(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("a defect of ours")

    monkeypatch.setattr(certificate.rendering.experiment, "read", defect)
    text = seen(drains.results(verdict()), report).text
    assert "without its evidence" in text
    assert "3 of 7 accepted requests got no right answer" in text


# Evidence that is less than the run left, or other


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines(keepends=True)


def cut_within_a_line(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 + (content[len(content) // 2 - 1 : len(content) // 2] == b"\n")])


def cut_after_a_line(file: Path) -> None:
    lines = lines_of(file)
    file.write_text("".join(lines[: len(lines) // 2]))


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


def no_text(file: Path) -> None:
    file.write_bytes(b"\xff\x00\xfe" * 100)


def of_other_content(file: Path) -> None:
    text = file.read_text()
    file.write_text(text.replace('"right":false', '"right": true') if "right" in text else text.replace("1", "2"))


WITHOUT_A_MANIFEST = [
    (name, damage)
    for name in ("ledger.jsonl", "timeline.jsonl", "probes.jsonl", "output.jsonl")
    for damage in (cut_within_a_line, cut_after_a_line, emptied, removed, no_text)
    if (name, damage) != ("probes.jsonl", cut_after_a_line)  # how often it was looked, nothing else says
]


@pytest.mark.parametrize(("name", "damage"), WITHOUT_A_MANIFEST)
def test_evidence_that_is_not_whole_is_not_drawn_as_if_it_were(report: Path, name: str, damage: Any) -> None:
    assert "damaged or was changed" not in seen(drains.results(verdict()), report).text
    damage(report / "evidence" / "now" / "drain" / name)
    page_ = made(drains.results(verdict()), report)
    assert "damaged or was changed" in page_.text
    assert "#x1" in page_.links
    assert name in page_.text.partition("What was done and seen")[2]


@pytest.mark.parametrize("name", ["ledger.jsonl", "timeline.jsonl", "probes.jsonl", "output.jsonl", "experiment.json"])
@pytest.mark.parametrize("damage", [cut_after_a_line, removed, of_other_content])
def test_what_the_manifest_does_not_know_is_named(report: Path, name: str, damage: Any) -> None:
    evidence = report / "evidence" / "now"
    results = drains.results(verdict())
    digest = digests.write(evidence, results=results)
    assert digest is not None
    results = replace(results, bundle=Bundle(folder="evidence/now", digests=digest))
    assert "damaged or was changed" not in seen(results, report).text
    damage(evidence / "drain" / name)
    page_ = made(results, report)
    top, _, below = page_.text.partition("What was done and seen")
    for text in (top, below):
        assert re.search(rf"drain/{name} (is missing|was changed)", text)
    (evidence / digests.MANIFEST).unlink()
    assert "digests.json is missing" in made(results, report).text


def test_nothing_outside_of_the_report_is_read_unless_it_is_vouched_for(report: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    results = drains.results(verdict(evidence="../evidence/now/drain"))
    text = seen(results, here).text
    assert "SIGTERM was sent, and taken" not in text
    assert "outside of the report folder" in text
    digest = digests.write(report / "evidence" / "now", results=results)
    assert digest is not None
    for known in (digest, "0" * 64):
        bundle = Bundle(folder="../evidence/now", digests=known)
        text = seen(replace(results, bundle=bundle), here).text
        assert ("SIGTERM was sent, and taken" in text) == (known == digest)


def test_saved_evidence_has_a_date_of_its_own(report: Path) -> None:
    file = report / "evidence" / "now" / "drain" / "experiment.json"
    described = json.loads(file.read_text())
    described["clock"]["wall"] = datetime(2026, 11, 18, 9, 30, tzinfo=timezone.utc).timestamp()
    file.write_text(json.dumps(described) + "\n")
    text = seen(drains.results(verdict()), report).text
    assert "experiments 2026-11-18 09:30 UTC" in text
    assert "judged 2026-11-20 15:40 UTC" in text
    text = seen(drains.results(verdict(), started="2026-11-18T10:29:59+01:00"), report).text
    assert "2026-11-18 10:29 UTC+01:00" in text
    assert "judged" not in text.partition("about this run")[0]


def test_what_fails_is_shown_in_full_among_thousands_that_hold(report: Path) -> None:
    plain = (verdict(scenario=f"drain.TestStop[{n}w]", **HOLDS) for n in range(2500))
    made(drains.results(verdict(), *plain), report)
    assert (report / certificate.FILE).read_text().count('class="timeline"') == 1
