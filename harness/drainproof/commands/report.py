"""Writes all reports of a run again, from its results.json and its evidence: after an update, or with another report
installed. Verdicts stay as they are; `drainproof check` judges them again. Reports of evidence that was changed since
the run are not written."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from drainproof import saved
from drainproof.commands.speaking import complain, say
from drainproof.errors import UserError
from drainproof.text import flat, printable

SUMMARY = "write all reports of a run again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the report folder."""
    parser.add_argument("dir", metavar="DIR", type=Path, help="a report folder of drainproof")
    parser.add_argument(
        "--force",
        action="store_true",
        help="also for changed evidence, and over files that somebody else may have written",
    )


def run(args: argparse.Namespace) -> int:
    """Renders them. Raises UserError."""
    from drainproof.evidence import digests  # noqa: PLC0415 - only this command needs it
    from drainproof.plugin import rendering  # noqa: PLC0415 - imports pytest

    found = saved.read(args.dir)
    bundle = found.results.bundle
    if bundle is not None and (changed := digests.verify(found.folder / bundle.folder, results=found.results)):
        told = f"the evidence is not what the run left ({changed[0].text})"
        tells = f"drainproof check {shlex.quote(str(args.dir))} tells all"
        if changed[0].kind != "manifest-missing" and not args.force:
            raise UserError(f"{told}: {tells}. Nothing was written; --force writes reports all the same")
        complain(f"warning: {flat(told)}: {tells}")
    names = rendering.render(found.results, found.folder, force=args.force)
    say(f"written to {printable(str(found.folder))}: the reports of {', '.join(names)}\n")
    return 0
