"""The reference of the command line, held to the code."""

from __future__ import annotations

import argparse
import re
from importlib import metadata
from typing import get_args

from drainproof import checking
from drainproof.comparison import KINDS
from drainproof_reports.comparison import TITLES

from tests.real.runs import ROOT

PAGE = (ROOT / "docs" / "reference" / "command-line.md").read_text()


def test_every_command_and_each_of_its_options_is_described() -> None:
    for entry in metadata.entry_points(group="drainproof.commands"):
        assert f"[`drainproof {entry.name}" in PAGE
        section = re.split(r"\n## ", PAGE.partition(f"\n## {entry.name}\n")[2])[0]
        assert section, entry.name
        parser = argparse.ArgumentParser()
        entry.load().add_arguments(parser)
        options = [name for action in parser._actions for name in action.option_strings if len(name) > 2]
        for option in set(options) - {"--help", "--output"}:
            assert option in section, f"{entry.name} {option}"


def test_every_kind_of_finding_is_described() -> None:
    for kind in get_args(checking.Kind):
        assert f"| `{kind}` |" in PAGE


def test_every_kind_of_change_has_a_title() -> None:
    assert set(TITLES) == set(KINDS)
    assert "Worse (1)" in PAGE
