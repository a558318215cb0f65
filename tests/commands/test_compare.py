"""`drainproof compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drainproof.verdict import Outcome, Verdict

from tests.commands.front_door import drainproof
from tests.commands.results import saved, verdict

HOSTILE = "lost | <script>alert(1)</script>\x1b[31m `x` [y](z)\nsecond line"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return saved(
        tmp_path / "old",
        verdict("DRAIN-1", "fail"),
        verdict("DRAIN-2", "pass"),
        verdict("DRAIN-3", "pass"),
        verdict("EXIT-1", "inconclusive"),
        verdict("EXIT-2", "pass"),
    )


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return saved(
        tmp_path / "new",
        verdict("EXIT-2", "pass"),
        verdict("EXIT-1", "pass"),
        verdict("DRAIN-2", "fail", summary=HOSTILE),
        verdict("DRAIN-1", "pass"),
    )


def test_in_words(old: Path, new: Path) -> None:
    done = drainproof("compare", old, new)
    assert done.status == 1
    assert done.out == (
        "old  sentiment  2026-11-20T15:40:11+00:00  not conforming, 5 verdicts\n"
        "new  sentiment  2026-11-20T15:40:11+00:00  not conforming, 4 verdicts\n"
        "\n"
        "Worse (1)\n"
        "  DRAIN-2   SIGTERM to the main process  [drain.TestStop[SIGTERM-main-1w] test_drain_2]\n"
        "            old  pass: DRAIN-2 is pass\n"
        "            new  fail: lost | <script>alert(1)</script> `x` [y](z) second line\n"
        "\n"
        "Not tested any more (1)\n"
        "  DRAIN-3   SIGTERM to the main process  [drain.TestStop[SIGTERM-main-1w] test_drain_3]\n"
        "            old  pass: DRAIN-3 is pass\n"
        "            new  not run\n"
        "\n"
        "Better (1)\n"
        "  DRAIN-1   SIGTERM to the main process  [drain.TestStop[SIGTERM-main-1w] test_drain_1]\n"
        "            old  fail: DRAIN-1 is fail\n"
        "            new  pass: DRAIN-1 is pass\n"
        "\n"
        "Newly tested (1)\n"
        "  EXIT-1    SIGTERM to the main process  [drain.TestStop[SIGTERM-main-1w] test_exit_1]\n"
        "            old  inconclusive: EXIT-1 is inconclusive\n"
        "            new  pass: EXIT-1 is pass\n"
        "\n"
        "1 worse, 1 not tested any more, 1 better, 1 newly tested, 1 unchanged\n"
        "2 regressions: worse, or held before and not tested any more\n"
    )


def test_files_as_well_as_folders_and_the_same_is_no_regression(old: Path) -> None:
    done = drainproof("compare", old / "results.json", old)
    assert done.status == 0
    assert done.out.endswith("5 unchanged\nno regression\n")


def test_as_json(old: Path, new: Path, tmp_path: Path) -> None:
    done = drainproof("compare", old, new, "--json", "-o", tmp_path / "out.json")
    assert (done.status, done.out) == (1, "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert (content["old"]["overall"], content["regressions"], content["unchanged"]) == ("not conforming", 2, 1)
    found = {c["requirement"]: (c["kind"], c["regression"], c["old"], c["new"]) for c in content["changes"]}
    assert found["DRAIN-3"] == ("untested", True, {"verdict": "pass", "summary": "DRAIN-3 is pass"}, None)
    assert found["DRAIN-1"][:2] == ("better", False)


def test_as_markdown_a_hostile_sentence_is_text(old: Path, new: Path) -> None:
    done = drainproof("compare", old, new, "--markdown")
    [row] = [line for line in done.out.splitlines() if "script" in line]
    assert row.endswith(
        r"| pass\: DRAIN\-2 is pass | fail\: lost \| \<script\>alert\(1\)\<\/script\> \`x\` \[y\]\(z\) second line |"
    )
    assert "### Not tested any more" in done.out


def test_nothing_of_a_file_reaches_the_terminal_as_it_is(old: Path, tmp_path: Path) -> None:
    bad = "\x1b[2Jx\n"
    hostile = verdict(bad, "fail", scenario=bad, title=bad, check=bad, summary=bad)
    folder = saved(tmp_path / "hostile", hostile, name=bad)
    for command in (("compare", old, folder), ("compare", folder, old), ("merge", folder), ("check", folder)):
        assert "\x1b" not in drainproof(*command).out


@pytest.mark.parametrize(
    "text, expected",
    [
        ("{", "is damaged: it is no JSON"),
        ("[]", "is no results.json of drainproof"),
        ('{"format": 99}', "has format 99, this version reads 1"),
        ('{"format": 1}', "is damaged: target: Field required"),
    ],
)
def test_a_file_that_is_none(old: Path, text: str, expected: str) -> None:
    other = old.parent / "other.json"
    other.write_text(text)
    done = drainproof("compare", old, other)
    assert done.status == 2
    assert done.err.startswith(f"drainproof compare: error: {other}")
    assert expected in done.err
    assert done.err.count("\n") == 1


def test_a_place_that_cannot_be_written(old: Path) -> None:
    done = drainproof("compare", old, old, "-o", "/no/such/folder/x")
    assert (done.status, done.err) == (
        2,
        "drainproof compare: error: -o /no/such/folder/x: cannot be written: No such file or directory\n",
    )


def repeated(requirement: str, *outcomes: Outcome) -> list[Verdict]:
    """One check in the runs of a scenario that was repeated."""
    return [
        verdict(requirement, outcome, scenario=f"drain.TestStop[SIGTERM-main-1w-r{number}]", repetition=number)
        for number, outcome in enumerate(outcomes, start=1)
    ]


def test_of_repetitions_the_worst_counts(tmp_path: Path) -> None:
    twice = saved(tmp_path / "twice", *repeated("DRAIN-1", "pass", "pass"))
    thrice = saved(tmp_path / "thrice", *repeated("DRAIN-1", "pass", "pass", "fail"))
    once = saved(tmp_path / "once", verdict("DRAIN-1", "pass"))
    done = drainproof("compare", twice, thrice)
    assert done.status == 1
    assert "1 worse, 0 not tested any more, 0 better, 0 newly tested, 0 unchanged" in done.out
    done = drainproof("compare", once, twice)
    assert (done.status, done.out.endswith("1 unchanged\nno regression\n")) == (0, True)


def test_other_software_and_another_specification_are_told(tmp_path: Path) -> None:
    runs = [saved(tmp_path / name, verdict("DRAIN-1", "pass")) for name in ("old", "new")]
    content = json.loads((runs[1] / "results.json").read_text())
    content["specification"] = "9.9"
    content["target"]["digest"] = {"sha256": "ab" * 32, "of": "folder"}
    (runs[1] / "results.json").write_text(json.dumps(content))
    notes = [
        "judged by other requirements: an unknown version (old), 9.9 (new)",
        "other software: its digest is not known (old), abababababab (new)",
    ]
    assert "".join(f"note {note}\n" for note in notes) in drainproof("compare", *runs).out
    assert json.loads(drainproof("compare", *runs, "--json").out)["notes"] == notes
    assert drainproof("compare", *runs, "--markdown").out.count("\n* ") == 2


def test_a_name_that_no_file_has(old: Path) -> None:
    done = drainproof("compare", old, old, "-o", "")
    assert (done.status, done.err) == (2, "drainproof compare: error: -o .: expected the name of a file\n")
