"""Writes all reports of a run again, from its results.json and its evidence: after an update, or with another report
installed. Verdicts stay as they are; `drainproof check` judges them again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from drainproof import saved
from drainproof.text import printable

SUMMARY = "write all reports of a run again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the report folder."""
    parser.add_argument("dir", metavar="DIR", type=Path, help="a report folder of drainproof")


def run(args: argparse.Namespace) -> int:
    """Renders them. Raises UserError."""
    from drainproof.evidence import digests  # noqa: PLC0415 - only this command needs it
    from drainproof.plugin import rendering  # noqa: PLC0415 - imports pytest

    found = saved.read(args.dir)
    names = rendering.render(found.results, found.folder)
    if found.results.bundle is not None:
        changed = digests.verify(found.folder / found.results.bundle.folder, results=found.results)
        if changed:
            sys.stderr.write(
                f"warning: the evidence is not what the run left ({printable(changed[0].text)}): "
                f"drainproof check {args.dir} tells all\n"
            )
    sys.stdout.write(f"written to {found.folder}: the reports of {', '.join(names)}\n")
    return 0
