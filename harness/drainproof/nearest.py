"""The nearest valid name to a mistyped one, for every message that says "did you mean …?"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that `name` most probably means, whatever its case; None where nothing comes close."""
    by_folded: dict[str, str] = {}
    for choice in choices:
        by_folded.setdefault(choice.casefold(), choice)
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` Did you mean "…"?` with its leading space, to be put behind a sentence; empty where nothing comes close."""
    found = nearest(name, choices)
    return "" if found is None else f' Did you mean "{found}"?'
