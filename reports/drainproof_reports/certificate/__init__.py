"""`certificate.html`: a whole run on one page that needs nothing else, for people.

`results.json` says everything to programs; this shows what holds, and what proves it, to somebody who does not want to
trust us. The page has no script and asks nothing of a network, so it can be mailed, archived and printed.

    Results ─► page.py ─► Page (grid, findings, …) ─┐
    evidence ─► experiment.py ─► Shown (timeline, …) ├─► templates/ ─► certificate.html
    provenance.py says which evidence may be read        └── as much of each as `rendering.py` has room for

Why is it safe to show what a target said?
    Three times over: Jinja2 escapes every value, `printable` takes control characters out of each one before that (as
    the template engine's `finalize`, so no template can forget it), and the page forbids itself by its policy
    (Content-Security-Policy) to run or load anything. Drawings are made of numbers and of words that are ours; what
    else gets into one goes through `drawing.label`, which escapes.
"""

from __future__ import annotations

from pathlib import Path

from drainproof.text import shortened
from drainproof.verdict import Results

from drainproof_reports import files
from drainproof_reports.certificate import rendering

FILE = "certificate.html"


def write(results: Results, folder: Path) -> None:
    """Writes the certificate of `results` into the report folder, which holds the evidence. Raises OSError.

    What is wrong with the evidence stands on the page, in its place: a certificate is written in any case. A defect of
    the page itself costs its pictures, or at worst the page, and says so; never the run.
    """
    files.replace(folder / FILE, _rendered(results, folder))


def _rendered(results: Results, folder: Path) -> str:
    try:
        return rendering.render(results, folder)
    except Exception as error:  # whatever evidence made it fail, the verdicts do not depend on a picture
        failed = f"{type(error).__name__}: {shortened(str(error), 200)}"
    try:
        said = f"This page is drawn without its evidence, because that made drainproof fail ({failed})."
        return rendering.render(results, None, problem=said)
    except Exception as error:
        failed = f"{type(error).__name__}: {shortened(str(error), 200)}"
        return rendering.render_without_verdicts(results, failed)


def is_due(results: Results) -> bool:
    """Whether a run has come to its end, by itself or not: while it goes on a certificate would say little, slowly."""
    return not results.aborted or results.bundle is not None
