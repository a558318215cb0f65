"""Puts several runs into one grid, with requirements down and targets across. Runs of the same target (its name,
its launch mode, the digest of its software) by the same specification share a column; where they do not agree about a
check, the worse outcome counts.

Written to the terminal as a table; with -o FILE, in the form that the name of the file asks for (.html, .md, .json,
.txt)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from drainproof import saved
from drainproof.commands.speaking import json_text
from drainproof.errors import UserError

from drainproof_reports import merging
from drainproof_reports.commands.output import add_output, put
from drainproof_reports.merging import Grid

SUMMARY = "put several runs, or several targets, side by side"

FORMS: dict[str, Callable[[Grid], str]] = {
    "text": merging.as_text,
    "markdown": merging.as_markdown,
    "json": lambda grid: json_text(merging.as_json(grid)),
    "html": merging.as_html,
}
SUFFIXES = {".html": "html", ".md": "markdown", ".json": "json", ".txt": "text"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the runs, and the form of the grid."""
    parser.add_argument("runs", metavar="DIR", nargs="+", type=Path, help="a report folder, or its results.json")
    parser.add_argument("--form", choices=list(FORMS), help="the form, whatever the name of the file says")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Merges them. Raises UserError."""
    form = args.form or ("text" if args.output is None else SUFFIXES.get(args.output.suffix))
    if form is None:
        raise UserError(f"-o {args.output}: expected a name that ends in {', '.join(SUFFIXES)}, or --form")
    grid = merging.merge((merging.label(path), saved.read(path).results) for path in args.runs)
    put(FORMS[form](grid), args.output)
    return 0
