"""What the certificate shows of one experiment, read from its evidence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from drainproof.errors import DrainproofError
from drainproof.evidence import Evidence
from drainproof.recorder import LEDGER, OUTPUT, PROBES, TIMELINE
from drainproof.text import shortened

from drainproof_reports.certificate import timeline, words
from drainproof_reports.certificate.timeline import Timeline

UNREADABLE = (
    DrainproofError,
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    MemoryError,
)
"""What reading may raise where evidence was cut short, damaged or tampered with."""

LONGEST_WAIT = 1e6
"""Seconds that no exit takes, and no grace period lasts, except in damaged evidence."""

LOG_WIDTH = 240
"""Characters of a line of the target's output that are shown."""

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Proof:
    """That a fault happened, or that something held from the launch on."""

    proven: bool
    because: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One experiment. Empty where the evidence does not say; `problems` says what of it could not be read."""

    load: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()
    timeline: Timeline | None = None
    log: tuple[str, ...] = ()
    log_left_out: int = 0
    exit_after: float | None = None
    """Seconds from the first fault, a stop signal, to the exit."""
    grace_period: float | None = None
    made: float | None = None
    """When the experiment was made, in seconds of the wall clock."""
    gaps: tuple[str, ...] = ()
    """What shows that some of the evidence is missing."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How much is shown of an experiment."""

    room: int
    """Requests of a group in its timeline; 0: no timeline."""
    dull: int
    log_lines: int


def read(folder: Path, detail: Detail) -> Shown:
    """What is shown of the experiment in `folder`. Raises nothing: what is wrong becomes one of `problems`."""
    problems: list[str] = []

    def attempt(what: str, reader: Callable[[], Read], otherwise: Read) -> Read:
        try:
            return reader()
        except UNREADABLE as error:
            text = str(error) if isinstance(error, DrainproofError) else f"{type(error).__name__}: {error}"
            problems.append(f"{what}: {shortened(text, 300)}")
            return otherwise

    evidence = attempt("its evidence cannot be read", lambda: Evidence(folder), None)
    if evidence is None:
        return Shown(problems=tuple(problems))
    described: Mapping[str, Any] = evidence.experiment
    no_log: tuple[tuple[str, ...], int] = ((), 0)
    log = attempt("its log", lambda: _log(evidence, detail.log_lines), no_log)
    return Shown(
        load=attempt("its load", lambda: tuple(map(words.load, described.get("load", ()))), ()),
        faults=attempt("its faults", lambda: _planned(described), ()),
        proofs=attempt("its proofs", lambda: _proofs(evidence), ()),
        timeline=attempt("its timeline", lambda: _timeline(evidence, detail), None) if detail.room else None,
        log=log[0],
        log_left_out=log[1],
        exit_after=attempt("its exit", lambda: _exit_after(evidence), None),
        grace_period=attempt("its policy", lambda: _duration(evidence.policy.grace_period), None),
        made=attempt("its clock", lambda: _made(described), None),
        gaps=attempt("it cannot be said whether it is whole", lambda: tuple(_gaps(evidence)), ()),
        problems=tuple(problems),
    )


def _planned(described: Mapping[str, Any]) -> tuple[str, ...]:
    given = [f"{words.fault(one)} (from the launch on)" for one in described.get("given", ())]
    return (*given, *map(words.fault, described.get("faults", ())))


def _proofs(evidence: Evidence) -> tuple[Proof, ...]:
    return tuple(
        Proof(proven=bool(event["proven"]), because=str(event["because"]))
        for event in (*evidence.given, *evidence.faults)
    )


def _timeline(evidence: Evidence, detail: Detail) -> Timeline | None:
    return timeline.draw(evidence, room=detail.room, dull=detail.dull)


def _exit_after(evidence: Evidence) -> float | None:
    """Only where a stop signal was the fault: what an exit after something else takes is another question."""
    if not evidence.faults or evidence.faults[0].get("kind") not in ("signal", "console_event"):
        return None
    return _duration(evidence.exit_after)


def _duration(seconds: float | None) -> float | None:
    """It, where it can be one: a damaged line may say anything."""
    return float(seconds) if seconds is not None and 0 <= seconds <= LONGEST_WAIT else None


def _made(described: Mapping[str, Any]) -> float | None:
    wall = described.get("clock", {}).get("wall")
    return float(wall) if isinstance(wall, (int, float)) and math.isfinite(wall) else None


def _gaps(evidence: Evidence) -> Iterator[str]:
    """What shows that some of it is missing, though all that is there can be read.

    The readers take a file that ends early for one that a crash cut short, and draw what is there: a picture of half
    the requests looks like one of all, unless something says so.
    """
    for name in (TIMELINE, PROBES, LEDGER, OUTPUT):
        if _ends_within_a_line(evidence.folder / name):
            yield f"{name} was cut short: it ends within a line"
    if evidence.find("stopped") is not None:
        return  # it did not come to its end, and the verdicts say why
    if evidence.find("end") is None:
        yield f"{TIMELINE} was cut short: it says nothing of the end of the experiment"
    elif evidence.find("observed") is None:
        yield f"{TIMELINE} is not complete: it says nothing of the end of the observation"
    if evidence.find("load") is None:
        return
    if not any(evidence.history.keys(probe=probe) for probe in ("listener", "readiness", "liveness", "processes")):
        yield f"{PROBES} is empty, although the target was launched"
    yield from _gaps_of_ledger(evidence.folder / LEDGER)


def _ends_within_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() != b"\n"


def _gaps_of_ledger(path: Path) -> Iterator[str]:
    """Counts the lines alone: a ledger may have a million, and is read in full for the timeline already."""
    if not path.exists():
        yield f"{LEDGER} is missing, although there was a load"
        return
    count, last = 0, b""
    with path.open("rb") as file:
        for line in file:
            count += line.startswith(b'{"record":"request"')
            last = line
    try:
        summary = json.loads(last)
    except ValueError:
        summary = None
    if not isinstance(summary, dict) or summary.get("record") != "summary":
        yield f"{LEDGER} was cut short: it has {words.plural(count, 'request')}, and no summary of how many there were"
    elif summary.get("recorded") != count:
        yield f"{LEDGER} does not reconcile: {summary.get('recorded')} requests were recorded, and it has {count}"


def _log(evidence: Evidence, most: int) -> tuple[tuple[str, ...], int]:
    """The last lines of the target's output, with their time relative to the fault."""
    if evidence.find("launch") is None or not most:
        return (), 0
    zero = float(evidence.faults[0]["t"]) if evidence.faults else float(evidence.moment("launch") or 0.0)
    lines = list(_whole(evidence.output.lines))
    shown = [f"{line['t'] - zero:+8.3f} s  {shortened(line['text'], LOG_WIDTH)}" for line in lines[-most:]]
    return tuple(shown), len(lines) - len(shown)


def _whole(records: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The first record of each line: one that is too long comes in pieces."""
    goes_on: dict[str, bool] = {}
    for record in records:
        if "text" in record:
            if not goes_on.get(record["stream"]):
                yield record
            goes_on[record["stream"]] = bool(record.get("cut"))
