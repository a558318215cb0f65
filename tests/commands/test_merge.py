"""`drainproof merge`."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
from drainproof.verdict import Outcome

from tests.commands.front_door import drainproof
from tests.commands.results import saved, verdict

HOSTILE = '"><script>alert(1)</script>\x1b[31m | x'


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two servers; the second one in two parts that disagree about one check."""
    return [
        saved(tmp_path / "a", verdict("DRAIN-1", "fail", summary=HOSTILE), verdict("EXIT-1", "pass"), name="first"),
        saved(tmp_path / "b", verdict("DRAIN-1", "pass"), verdict("EXIT-2", "inconclusive"), name="second"),
        saved(tmp_path / "c", verdict("EXIT-2", "pass"), verdict("DRAIN-2", "unsupported"), name="second"),
    ]


def test_a_table(runs: list[Path]) -> None:
    done = drainproof("merge", *runs)
    assert done.status == 0, done.err
    assert done.out.splitlines() == [
        "               first           second",
        "-------  ----  --------------  ----------------",
        "DRAIN-1  MUST  ✗ fail 1        ✓ pass 1",
        "DRAIN-2  MUST  not tested      · unsupported 1",
        "EXIT-1   MUST  ✓ pass 1        not tested",
        "EXIT-2   MUST  not tested      ? inconclusive 1",
        "overall        not conforming  incomplete",
        "",
        f"second: 2 runs: {runs[1]}, {runs[2]}",
        "second: 1 check came to different outcomes; the worse one counts",
    ]


def test_a_cell_counts_the_checks_of_its_requirement(tmp_path: Path) -> None:
    scenarios = [verdict("DRAIN-1", "pass", scenario=f"drain.TestStop[{n}]") for n in range(3)]
    failed = verdict("DRAIN-1", "fail", scenario="drain.TestOther")
    assert "✗ fail 1 of 4" in drainproof("merge", saved(tmp_path / "a", *scenarios, failed)).out


def test_launch_modes_are_columns_of_their_own(tmp_path: Path) -> None:
    plain = saved(tmp_path / "a", verdict("EXIT-1", "pass"))
    contained = saved(tmp_path / "b", verdict("EXIT-1", "fail"))
    content = json.loads((contained / "results.json").read_text())
    content["target"]["manifest"]["launch"] = "container"
    (contained / "results.json").write_text(json.dumps(content))
    assert "sentiment   sentiment (container)" in drainproof("merge", plain, contained).out


def test_as_json(runs: list[Path], tmp_path: Path) -> None:
    assert drainproof("merge", *runs, "-o", tmp_path / "grid.json").status == 0
    grid = json.loads((tmp_path / "grid.json").read_text())
    assert [column["overall"] for column in grid["columns"]] == ["not conforming", "incomplete"]
    assert [row["requirement"] for row in grid["rows"]] == ["DRAIN-1", "DRAIN-2", "EXIT-1", "EXIT-2"]
    assert grid["rows"][2]["cells"][1] is None
    assert grid["rows"][3]["cells"][1]["verdict"] == "inconclusive"


def test_as_markdown(runs: list[Path], tmp_path: Path) -> None:
    assert drainproof("merge", *runs, "-o", tmp_path / "grid.md").status == 0
    lines = (tmp_path / "grid.md").read_text().splitlines()
    assert lines[0] == "| requirement |  | first | second |"
    assert lines[2].endswith("| MUST | ✗ fail 1 | ✓ pass 1 |")
    assert "| **overall** |  | **not conforming** | **incomplete** |" in lines


def test_as_a_page_that_needs_nothing_else_and_is_not_harmed(runs: list[Path], tmp_path: Path) -> None:
    assert drainproof("merge", *runs, "-o", tmp_path / "grid.html").status == 0
    page = (tmp_path / "grid.html").read_text()
    assert "<script" not in page
    assert "\x1b" not in page
    assert html.escape('"><script>alert(1)</script> | x', quote=False).replace('"', "&#34;") in page
    assert "src=" not in page
    assert "href=" not in page
    assert page.count('<th scope="row">') == 5


def test_a_form_that_nobody_knows(runs: list[Path], tmp_path: Path) -> None:
    done = drainproof("merge", *runs, "-o", tmp_path / "grid.pdf")
    assert done.status == 2
    assert "expected a name that ends in .html, .md, .json, .txt, or --form" in done.err
    assert drainproof("merge", *runs, "-o", tmp_path / "grid", "--form", "html").status == 0


def test_a_folder_without_results(runs: list[Path], tmp_path: Path) -> None:
    done = drainproof("merge", *runs, tmp_path)
    assert done.status == 2
    assert f"{tmp_path}: there is no results.json in it" in done.err


def test_other_software_is_a_column_of_its_own(tmp_path: Path) -> None:
    runs = [saved(tmp_path / name, verdict("EXIT-1", "pass")) for name in ("a", "b", "c")]
    for run, digest, specification in zip(runs, ("ab", "cd", "cd"), ("1", "1", "2"), strict=True):
        content = json.loads((run / "results.json").read_text())
        content["target"]["digest"] = {"sha256": digest * 32, "of": "folder"}
        content["specification"] = specification
        (run / "results.json").write_text(json.dumps(content))
    titles = drainproof("merge", *runs, "--form", "markdown").out.splitlines()[0]
    assert [title.strip().replace("\\", "") for title in titles.split("|")[3:-1]] == [
        "sentiment (digest abababababab, specification 1)",
        "sentiment (digest cdcdcdcdcdcd, specification 1)",
        "sentiment (digest cdcdcdcdcdcd, specification 2)",
    ]
    assert "sentiment: 2 runs" in drainproof("merge", runs[0], runs[0]).out


def test_repetitions_are_one_check(tmp_path: Path) -> None:
    outcomes: tuple[Outcome, ...] = ("pass", "fail", "pass")
    runs = [
        verdict("EXIT-1", outcome, scenario=f"drain.TestStop[1w-r{number}]", repetition=number)
        for number, outcome in enumerate(outcomes, start=1)
    ]
    plain = verdict("EXIT-1", "pass", scenario="drain.TestStop[1w]")
    done = drainproof("merge", saved(tmp_path / "a", *runs), saved(tmp_path / "b", plain))
    assert "✗ fail 1\n" in done.out
    assert "1 check came to different outcomes" in done.out
