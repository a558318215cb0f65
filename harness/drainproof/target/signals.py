"""Signals as images, unit files and policies write them.

Python has names for the first and the last real-time signal alone; systemd, as PID 1 of an image, stops on SIGRTMIN+3.
"""

from __future__ import annotations

import re
import signal

_REAL_TIME = re.compile(r"SIGRT(MIN|MAX)(?:([+-])([0-9]{1,2}))?")


def number(name: str) -> int | None:
    """The number of a signal that is written `SIGTERM`, `TERM`, `15` or `SIGRTMIN+3`; None where there is none."""
    text = name.strip().upper()
    if re.fullmatch("[0-9]+", text):
        return _valid(int(text))
    text = text if text.startswith("SIG") else f"SIG{text}"
    if match := _REAL_TIME.fullmatch(text):
        end, sign, distance = match.groups()
        start = int(signal.SIGRTMIN if end == "MIN" else signal.SIGRTMAX)
        found = start + int(f"{sign or '+'}{distance or 0}")
        return found if signal.SIGRTMIN <= found <= signal.SIGRTMAX else None
    member = signal.Signals.__members__.get(text)
    return None if member is None else int(member)


def _valid(value: int) -> int | None:
    return value if value in {int(each) for each in signal.valid_signals()} else None


def name_of(number: int) -> str:
    """`SIGTERM` for 15, `SIGRTMIN+3` for 37."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if signal.SIGRTMIN < number < signal.SIGRTMAX:
            return f"SIGRTMIN+{number - signal.SIGRTMIN}"
        return f"signal {number}"
