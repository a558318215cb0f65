"""Lists what a server is held to (requirements), what is done to it for that (scenarios), or which servers there are to
be judged below this folder (targets). Without a word, all three."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drainproof.commands.speaking import json_text, say
from drainproof.errors import ManifestError
from drainproof.text import flat

SUMMARY = "list requirements, scenarios, or the targets below this folder"

LEFT_OUT = {"node_modules", "site-packages", "__pycache__"}
"""Folders with code of others; those whose names begin with a dot as well, and virtual environments."""

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what is listed, and in which form."""
    parser.add_argument("what", choices=list(KINDS), nargs="?", help="what to list; without it, all three")
    parser.add_argument("--json", action="store_true", help="write it as JSON")


def run(args: argparse.Namespace) -> int:
    """Lists it. Raises UserError."""
    wanted = [args.what] if args.what else list(KINDS)
    found = {what: KINDS[what][0]() for what in wanted}
    if args.json:
        say(json_text(found))
        return 0
    for what, rows in found.items():
        if len(wanted) > 1:
            say(f"{what}\n\n")
        for row in rows:
            say(KINDS[what][1](row) + "\n")
        if len(wanted) > 1:
            say("\n" if rows else f"none below {Path.cwd()}\n")
    return 0


def _requirements() -> list[Row]:
    from drainproof.requirement import catalogue  # noqa: PLC0415 - reads a file

    return [
        {"id": r.id, "level": r.level, "title": r.title, "rule": r.rule, "source": r.source}
        for r in catalogue().values()
    ]


def _requirement_line(row: Row) -> str:
    rule = textwrap.fill(flat(row["rule"]), 100, initial_indent=" " * 18, subsequent_indent=" " * 18)
    return f"{row['id']:<9} {row['level']:<7} {row['title']}\n{rule}"


def _scenarios() -> list[Row]:
    from drainproof.scenario_index import all_scenario_classes  # noqa: PLC0415 - imports all of them

    return [
        {"id": s.id, "title": s.title, "package": s.package, "requirements": list(s.requirements)}
        for s in all_scenario_classes()
    ]


def _scenario_line(row: Row) -> str:
    return f"{row['id']}\n    {flat(row['title'])}\n    {' '.join(row['requirements'])}"


def _targets() -> list[Row]:
    from drainproof.target import manifest  # noqa: PLC0415 - needs pydantic, which takes its time

    here = Path.cwd()
    rows: list[Row] = []
    for folder in _folders(here):
        if not manifest.has_manifest(folder):
            continue
        where = os.path.relpath(folder, here)
        try:
            found = manifest.outline(folder)
        except (ManifestError, OSError) as error:
            rows.append({"folder": where, "name": folder.name, "launch": [], "mistake": str(error)})
        else:
            rows.append({"folder": where, "name": found.name, "launch": list(found.modes), "mistake": None})
    return rows


def _folders(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in LEFT_OUT)
        if "pyvenv.cfg" in files:
            below.clear()
        else:
            yield Path(folder)


def _target_line(row: Row) -> str:
    how = "its manifest has mistakes" if row["mistake"] else ", ".join(row["launch"])
    return f"{flat(row['folder']):<40}  {flat(row['name']):<30}  {how}"


KINDS: dict[str, tuple[Callable[[], list[Row]], Callable[[Row], str]]] = {
    "requirements": (_requirements, _requirement_line),
    "scenarios": (_scenarios, _scenario_line),
    "targets": (_targets, _target_line),
}
"""For each kind: what finds it, and what writes a line of it."""
