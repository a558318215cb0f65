"""Says what differs between two runs: which checks got better or worse, which are tested now and were not before,
which are not tested any more. Checks are matched by requirement and scenario, so the two may be of one server at two
times, of two releases of it, or of two servers.

Exit status: 0 without a regression; 1 if a check got worse, or held before and is not tested any more; 2 for a mistake
in the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from drainproof import saved
from drainproof.commands.speaking import json_text
from drainproof.comparison import compare

from drainproof_reports import comparison
from drainproof_reports.commands.output import add_output, put

SUMMARY = "say what got better and what got worse between two runs; exit status 1 for the latter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the two runs, and the form of the answer."""
    parser.add_argument("old", metavar="OLD", type=Path, help="a report folder, or its results.json")
    parser.add_argument("new", metavar="NEW", type=Path, help="another one")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="write it as JSON")
    form.add_argument("--markdown", action="store_true", help="write it as Markdown")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Compares them, and gives 1 where there is a regression. Raises UserError."""
    old, new = saved.read(args.old).results, saved.read(args.new).results
    found = compare(old, new)
    if args.json:
        text = json_text(comparison.as_json(old, new, found))
    elif args.markdown:
        text = comparison.as_markdown(old, new, found)
    else:
        text = comparison.as_text(old, new, found)
    put(text, args.output)
    return 1 if found.regressions else 0
