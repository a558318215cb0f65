"""Requests in brief: what a picture of an experiment needs of each, for ledgers too large to be held in memory.

A million records are more than a gigabyte as objects, and making those takes longer than reading the file. So only a
line whose fate or standing is not plain to see becomes a `RequestRecord`, for as long as it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

from drainproof.evidence.requests import Cut, Fate, begun_at
from drainproof.load.ledger import RequestRecord, request_of

Standing = Literal["before", "accepted", "under way", "after"]
"""How a request stood at the first fault. `before`: it had ended, or there was no fault · `accepted`: the server had
accepted and read it, and not answered yet · `under way`: begun, but not proven to be accepted · `after`: no byte of it
had left."""


class Brief(NamedTuple):
    """One request. Moments are CLOCK_MONOTONIC seconds."""

    begun: float
    end: float
    fate: Fate
    standing: Standing


def briefs(
    lines: Iterable[dict[str, Any]], *, fate_of: Callable[[RequestRecord], Fate], cut: Cut | None
) -> Iterator[Brief]:
    """The requests of the ledger's `lines`; `fate_of` judges one, `cut` is the first fault."""
    for line in lines:
        end = line["end"]
        begun = begun_at(
            connect_start=line["connect_start"], offered=line.get("offered"), send_start=line["send_start"], end=end
        )
        plain = line["right"] and line["cause"] is None
        under_way = cut is not None and begun < cut.t < end
        record = None if plain and not under_way else request_of(line)
        if cut is None or end <= cut.t:
            standing: Standing = "before"
        elif record is None or not under_way:
            standing = "after"
        else:
            sent = record.send_start is not None and record.send_start < cut.t
            standing = "accepted" if sent and cut.shows_accepted(record) else "under way"
        yield Brief(begun, end, "right" if plain or record is None else fate_of(record), standing)
