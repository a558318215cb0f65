"""The command `drainproof` itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tests.commands.front_door import COMMAND, drainproof
from tests.commands.results import saved, verdict


def test_version() -> None:
    assert drainproof("--version").out == f"drainproof {metadata.version('drainproof')}\n"


def test_help_has_every_command_and_examples() -> None:
    out = drainproof("--help").out
    for entry in metadata.entry_points(group="drainproof.commands"):
        assert f"    {entry.name} " in out
        assert f"drainproof {entry.name} " in out.partition("examples:")[2]
        assert drainproof(entry.name, "--help").status == 0


def test_without_a_command_it_says_which_there_are() -> None:
    done = drainproof()
    assert done.status == 2
    assert "required: COMMAND" in done.err


def test_a_foreign_command_that_cannot_be_loaded_leaves_the_others_usable(tmp_path: Path) -> None:
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[drainproof.commands]\nacme = acme_command\n")
    done = drainproof("list", "requirements", env={"PYTHONPATH": str(tmp_path)})
    assert done.status == 0
    assert done.err == "drainproof: the command acme (acme_command) cannot be loaded: No module named 'acme_command'\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"set -o pipefail; {COMMAND} list requirements | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_a_disk_that_is_full_is_no_answer(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", verdict("DRAIN-1", "pass"))
    for words in (("list", "requirements"), ("compare", folder, folder)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, f"drainproof {words[0]}: error: No space left on device\n")


def workflow_commands(output: str) -> list[str]:
    """As the runner sees them (actions/runner, ActionCommand.cs)."""
    return [line for line in re.split(r"[\r\n]", output) if line.lstrip().startswith("::") or "##[" in line]


def test_nothing_of_a_file_becomes_a_workflow_command(tmp_path: Path) -> None:
    env = {"GITHUB_ACTIONS": "true"}
    hostile = "::error title=pwn::hi"
    bad = verdict(hostile, "fail", scenario="##[error]x", title="##[error]y", summary="a\n::error::z")
    folder = saved(tmp_path / "a", bad, name="##[group]name")
    other = saved(tmp_path / "b", verdict("DRAIN-1", "pass"), name="::add-mask::x")
    named = tmp_path / "no\n::error::manifest"
    named.mkdir()
    for words in (
        *(("compare", other, folder, *form) for form in ([], ["--json"], ["--markdown"])),
        *(("merge", folder, other, "--form", form) for form in ("text", "markdown", "json", "html")),
        *(("check", folder, *form) for form in ([], ["--json"])),
        ("merge", named),
        ("check", f"x\n{hostile}"),
        ("compare", "a", "b", f"x\n{hostile}"),
        ("report", folder),
        ("init", named),
    ):
        done = drainproof(*words, env=env)
        assert workflow_commands(done.out + done.err) == [], words
        if words[0] != "check" and ("--json" in words or "json" in words):
            assert "##[" in str(json.loads(done.out))


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"target": {"manifest": None}}, "target.manifest is no object"),
        ({"target": {"manifest": {"policy": 1}}}, "target.manifest.policy is no object"),
        ({"target": {"digest": "x"}}, "target.digest has no sha256"),
        ({"bundle": {"folder": "a" * 5000, "digests": ""}}, "bundle.folder is no path that a run makes"),
        ({"bundle": {"folder": "/x", "digests": ""}}, "bundle.folder is not relative to the report folder"),
        ({"evidence": "a\0b"}, "verdicts.0.evidence is no path that a run makes"),
        ({"evidence": "/x"}, "verdicts.0.evidence is not relative to the report folder"),
    ],
)
def test_results_that_no_run_has_written(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    folder = saved(tmp_path / "run", verdict("DRAIN-1", "pass"))
    content = json.loads((folder / "results.json").read_text())
    evidence = change.pop("evidence", None)
    content["verdicts"][0]["evidence"] = evidence
    content.update({key: {**(content[key] or {}), **value} for key, value in change.items()})  # type: ignore[dict-item]
    (folder / "results.json").write_text(json.dumps(content))
    for words, status in ((("merge", folder), 2), (("compare", folder, folder), 2), (("check", folder), 1)):
        done = drainproof(*words)
        assert done.status == status, done
        assert f"results.json is damaged: ValueError: {expected}" in done.out + done.err


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    done = drainproof("compare", tmp_path, tmp_path)
    assert (done.status, done.err.endswith("results.json cannot be read: is no regular file\n")) == (2, True)
