"""The command `drainproof` itself."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from tests.commands.front_door import COMMAND, drainproof


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
