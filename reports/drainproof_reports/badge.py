"""`badge.svg`: the overall verdict, for a README. It is one file that loads nothing."""

from __future__ import annotations

from pathlib import Path

from drainproof.verdict import Overall, Results

from drainproof_reports import files

FILE = "badge.svg"
LABEL = "drainproof"

COLOURS: dict[Overall, str] = {
    "conforming": "#3b7d23",
    "conforming with notes": "#76801f",
    "not conforming": "#c0392b",
    "incomplete": "#6b6b6b",
}
"""Dark enough for white letters (contrast of 4.5 or more); the words tell it without the colours."""


def document(results: Results) -> str:
    """The content of the file."""
    import anybadge  # noqa: PLC0415 - needed once, when a report is written

    badge = anybadge.Badge(LABEL, results.overall, default_color=COLOURS[results.overall])
    badge.mask_str = "drainproof-badge"  # else one more at each writing, although nothing has changed
    text: str = badge.badge_svg_text
    name = f"{LABEL}: {results.overall}"  # nothing of the target's: both are words of ours
    return text.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1).replace(
        "\n    <linearGradient", f"\n    <title>{name}</title>\n    <linearGradient", 1
    )


def write(results: Results, path: Path) -> None:
    """Writes the file in one step. Raises OSError."""
    files.replace(path, document(results))
