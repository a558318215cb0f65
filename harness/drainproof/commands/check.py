"""Judges the saved evidence of a run again, without the server, and compares: is each verdict in results.json what
the evidence says, and is the evidence what the run left? It needs the version of drainproof, and the scenario packages,
that the run had.

Exit status: 0 if everything is reproduced, 1 if not, 2 for a mistake in the command."""

from __future__ import annotations

import argparse
from pathlib import Path

from drainproof.commands.speaking import json_text, say
from drainproof.errors import UserError
from drainproof.text import flat

SUMMARY = "judge saved evidence again, and find what was changed since"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the folder, and the files of a user's own scenarios."""
    parser.add_argument("dir", metavar="DIR", type=Path, help="a report folder of drainproof, with its evidence")
    parser.add_argument(
        "paths",
        metavar="FILE",
        nargs="*",
        type=Path,
        help="test files with scenarios of your own, where the run had some; without, the installed scenarios are all",
    )
    parser.add_argument("--json", action="store_true", help="write the findings as JSON")


def run(args: argparse.Namespace) -> int:
    """Checks, tells, and gives 0 if everything is reproduced."""
    from drainproof import checking  # noqa: PLC0415 - imports pytest and the engine

    missing = next((path for path in args.paths if not path.exists()), None)
    if missing is not None:
        raise UserError(f"{missing}: there is no such file")
    outcome = checking.check(args.dir, own=args.paths)
    if args.json:
        say(json_text(outcome.to_json()))
    else:
        for finding in outcome.findings:
            say(f"{finding.kind:<15} {flat(finding.text)}\n")
        for remark in outcome.remarks:
            say(f"{'note':<15} {flat(remark)}\n")
        say(f"{outcome.summary}\n")
    return 0 if outcome.reproduced else 1
