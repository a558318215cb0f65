"""Certificates of drains with very many requests: what they cost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from drainproof.load.ledger import RequestRecord

from tests.reports import drains
from tests.reports.drains import ANSWERED, CUT, REFUSED, at

MAKE = """
import json, resource, sys, time
from pathlib import Path
from drainproof.verdict import Results
from drainproof_reports import certificate
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
results = Results.from_json(json.loads((folder / "results.json").read_text()))
began, busy = time.monotonic(), time.process_time()
certificate.write(results, folder)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([time.monotonic() - began, time.process_time() - busy, peak]))
"""
"""In a process of its own, so that its memory is what is measured, and can be limited."""

GIGABYTE = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one certificate."""

    seconds: float
    processor_seconds: float
    peak_mb: float
    page_bytes: int


def load(count: int) -> Iterator[RequestRecord]:
    """Requests all over the drain; a third of them fails in one way or another."""
    chance = random.Random(1)
    for number in range(count):
        begun = chance.uniform(drains.LOAD, drains.EXIT)
        kind = chance.choice([ANSWERED, ANSWERED, ANSWERED, ANSWERED, CUT, REFUSED])
        yield replace(at(kind, begun, begun + chance.expovariate(5)), port=number % 60_000)


def measure(folder: Path, count: int, *, memory: int = GIGABYTE) -> Cost:
    """Makes the certificate of a drain with `count` requests, in at most `memory` bytes of address space."""
    drains.write(folder / "evidence" / "now" / "drain", requests=load(count))
    results = {**vars(drains.results()), "verdicts": [drains.verdict().to_json()]}
    (folder / "results.json").write_text(json.dumps(results))
    command = [sys.executable, "-c", MAKE, str(folder), str(memory)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, processor_seconds, peak_mb = json.loads(done.stdout)
    page_bytes = (folder / "certificate.html").stat().st_size
    return Cost(seconds=seconds, processor_seconds=processor_seconds, peak_mb=peak_mb, page_bytes=page_bytes)
