"""The badge, the page of Markdown and the annotations: whatever a target says stays text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import drainproof_reports
import pytest
from drainproof.verdict import Gate
from drainproof.workflow_commands import escaped_data, escaped_property, inert
from drainproof_reports import badge, markdown, workflow
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.reports.test_reports import NASTY, RESULTS, VERDICT, anything, examples, results

HOSTILE = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1)) ![x](http://evil/x.png)",
    "https://evil.example www.evil.example me@evil.example",
    "`code` **bold** _em_ ~~no~~ | another | cell",
    "&lt;b&gt; &#64;",
    "# heading\n- list\n1. list\n> quote\n```\nfence",
    "</details><h1>",
    NASTY,
]
TEXT_ONLY = {"text", "softbreak", "strong_open", "strong_close"}


def inline(text: str) -> list:
    tokens = MarkdownIt("commonmark", {"linkify": False}).enable(["table", "strikethrough"]).parse(text)
    return [child for token in tokens for child in token.children or ()]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_characters_of_a_target_and_no_more(text: str) -> None:
    children = inline(f"a {markdown.escaped(text)} z")
    assert {child.type for child in children} <= {"text", "text_special"}
    assert not re.search(r"[@#][A-Za-z0-9]", "".join(child.content for child in children)), "a mention, a reference"


@given(anything)
def test_any_text_is_only_text(text: str) -> None:
    escaped = markdown.escaped(text)
    assert "\n" not in escaped
    assert {child.type for child in inline(f"a {escaped} z")} <= {"text", "text_special"}
    cells = MarkdownIt("commonmark").enable("table").parse(f"| a | b |\n|---|---|\n| {escaped} | x |\n")
    assert sum(token.type == "td_open" for token in cells) == 2


@examples
@given(results)
def test_any_results_make_a_page(results) -> None:
    assert markdown.document(results).startswith("## ")


def test_the_page_says_what_matters() -> None:
    page = markdown.document(replace(RESULTS, gate=Gate(rule="must", passed=False, reasons=("DRAIN-1 fails",))))
    assert page.startswith("## ❌ mine: not conforming\n")
    assert "3 of 24 accepted requests were not answered" in page
    assert "Gate must: closed" in page
    assert "| DRAIN\\-1 | SIGTERM to the main process under load\\, 1 worker |" in page
    many = replace(RESULTS, verdicts=(VERDICT,) * 5000)
    assert len(markdown.document(many).encode()) < 200_000
    assert "… and 4940 more, in results.json." in markdown.document(many)
    assert "aborted" in markdown.document(replace(RESULTS, aborted=True))


def test_the_page_is_appended_to_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "step.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    assert markdown.append_to_step(RESULTS) is None
    assert file.read_text() == "before\n" + markdown.document(RESULTS) + "\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    told = drainproof_reports.pytest_drainproof_summary(RESULTS, tmp_path, 80, True)
    assert told[-1].text == f"the summary could not be appended to GITHUB_STEP_SUMMARY={tmp_path}: Is a directory"


@pytest.mark.parametrize(
    ("change", "overall"),
    [
        ({}, "not conforming"),
        ({"verdicts": (replace(VERDICT, verdict="pass"),)}, "conforming"),
        ({"verdicts": (replace(VERDICT, verdict="note"),)}, "conforming with notes"),
        ({"verdicts": ()}, "incomplete"),
    ],
)
def test_the_badge_says_the_overall_verdict(tmp_path: Path, change: dict, overall: str) -> None:
    badge.write(replace(RESULTS, target={"name": HOSTILE[0]}, **change), tmp_path / "badge.svg")
    text = (tmp_path / "badge.svg").read_text()
    root = ET.fromstring(text.encode())
    assert [node.text for node in root.iter("{http://www.w3.org/2000/svg}title")] == [f"drainproof: {overall}"]
    assert {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")} == {"drainproof", overall}
    assert not re.search(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)", text), "it loads nothing"
    badge.write(replace(RESULTS, target={"name": "another"}, **change), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text


def is_command(line: str) -> bool:
    """As the runner sees it (actions/runner, ActionCommand.cs)."""
    return line.lstrip().startswith("::") or "##[" in line


@given(st.text(st.sampled_from(":#[\n\r \tax\u2003")))
def test_inert_text_has_no_command(text: str) -> None:
    made = inert(text)
    assert not any(is_command(line) for line in re.split(r"[\r\n]", made))
    if not any(is_command(line) for line in re.split(r"[\r\n]", text)):
        assert made == text


@given(anything, anything)
def test_an_annotation_is_one_command_with_the_text_in_it(requirement: str, summary: str) -> None:
    verdict = replace(VERDICT, requirement=requirement, summary=summary)
    (line,) = workflow.commands(replace(RESULTS, verdicts=(verdict,)))
    assert not re.search(r"[\r\n]", line)
    kind, title, message = re.fullmatch(r"::(\w+) title=([^:,]*)::(.*)", line).groups()
    assert kind == "error"
    for value in (title, message):
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", value)


def test_escapes_are_those_of_the_runner() -> None:
    assert escaped_data("a%b\r\nc:d,e") == "a%25b%0D%0Ac:d,e"
    assert escaped_property("a%b\r\nc:d,e") == "a%25b%0D%0Ac%3Ad%2Ce"


def test_annotations_are_grouped_and_bounded() -> None:
    two = [VERDICT, replace(VERDICT, scenario="another"), replace(VERDICT, requirement="DRAIN-5", verdict="note")]
    error, warning = workflow.commands(replace(RESULTS, verdicts=tuple(two)))
    assert error.startswith("::error title=drainproof%3A DRAIN-1 does not hold::SIGTERM to the main process under load")
    assert "%0Aand in 1 more%0Arule: Every request" in error
    assert warning.startswith("::warning title=drainproof%3A DRAIN-5 does not hold (SHOULD)::")
    many = tuple(replace(VERDICT, requirement=f"EXC-{n}") for n in range(30))
    lines = workflow.commands(replace(RESULTS, verdicts=many))
    assert len(lines) == 10
    assert lines[-1].startswith("::error title=drainproof%3A 21 more::drainproof: EXC-9 does not hold, ")


def test_what_a_target_prints_gives_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    bad = "::set-env name=PATH::/evil"
    verdict = replace(VERDICT, summary=f"lost {'x' * 60} {bad}", details=f"{bad}\n  {bad}\n##[error]x", title=bad)
    run = replace(RESULTS, verdicts=(verdict,))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = [line.text for line in drainproof_reports.pytest_drainproof_summary(run, Path("report"), 80, True)]
    assert [line for line in lines if is_command(line)] == workflow.commands(run)
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    lines = [line.text for line in drainproof_reports.pytest_drainproof_summary(run, Path("report"), 80, True)]
    assert not any(line.startswith("::error") for line in lines)
