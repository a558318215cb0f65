"""The names and the marks of a report folder: how a file or a folder is known to be drainproof's own."""

from __future__ import annotations

import re

MARKER = ".drainproof"
EVIDENCE = "evidence"
SESSION = "session.json"
REPORTS = ("results.json", "junit.xml", "certificate.html", "summary.md", "badge.svg", "statement.json")
NEEDED = (EVIDENCE, *REPORTS)
"""Names that we write to; somebody else's files of these names are never touched."""

MARKER_TEXT = "Written by drainproof. evidence/ has one folder per run; remove what you do not need.\n"
GITIGNORE = ".gitignore"
GITIGNORE_TEXT = "# Made by drainproof.\n*\n"

RUN = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?:_\d+)?")
"""The name of a run's folder in `EVIDENCE`."""
