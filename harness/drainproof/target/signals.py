"""Signals as images, unit files and policies write them."""

from __future__ import annotations

import signal


def number(name: str) -> int | None:
    """The number of a signal that is written `SIGTERM`, `TERM` or `15`; None for one that does not exist."""
    text = name.strip().upper()
    if text.isdigit():
        return int(text) if int(text) in {int(each) for each in signal.valid_signals()} else None
    found = getattr(signal, text if text.startswith("SIG") else f"SIG{text}", None)
    return int(found) if isinstance(found, signal.Signals) else None


def name_of(number: int) -> str:
    """`SIGTERM` for 15."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
