"""Writes the evidence of one experiment: a folder of JSON and JSON lines that a crash cuts short but does not spoil.

| file | content | written by |
|---|---|---|
| `experiment.json` | scenario, target as resolved, load, faults, versions | here, before the launch |
| `timeline.jsonl` | what happened, in order: `{"t": …, "event": …}` | here |
| `probes.jsonl` | what was seen from outside: `{"t0": …, "t": …, "probe": …}` | here, for the probes |
| `ledger.jsonl` | one record per request | the load engine |
| `output.jsonl` | what the target printed, line by line | the keeper |
| `executed-N.jsonl` | the same of a command that was run beside a process target, such as a hook | its keeper |
| `shim/` | where a fault is made inside the target: what was armed and what was reported | both sides of the shim |

`t` is CLOCK_MONOTONIC in seconds, the clock that all processes of a host share; `experiment.json` holds one pair of
monotonic and wall-clock time to convert it.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from drainproof.errors import HarnessError
from drainproof.redaction import NOTHING, Redactor

EXPERIMENT, TIMELINE, PROBES = "experiment.json", "timeline.jsonl", "probes.jsonl"
LEDGER, OUTPUT, RESTART_OUTPUT = "ledger.jsonl", "output.jsonl", "restart-output.jsonl"
SHIM = "shim"
MISSED = "missed"
"""The event that says that the moment of a fault had passed before it could be used."""

FORMAT = 1


class Recorder:
    """The writing side of one evidence folder. Thread-safe; lines reach the kernel at once (no user-space buffer)."""

    def __init__(self, *, folder: Path, redactor: Redactor = NOTHING) -> None:
        self.folder = folder
        self._redactor = redactor
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._timeline = (folder / TIMELINE).open("a", encoding="utf-8", buffering=1)
            self._probes = (folder / PROBES).open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise HarnessError(f"cannot write evidence to {folder}: {error.strerror}") from error

    def describe(self, **what: Any) -> None:
        """Writes `experiment.json`; `what` are JSON values."""
        head = {"format": FORMAT, "clock": {"monotonic": time.monotonic(), "wall": time.time()}}
        text = json.dumps({**head, **self._redactor.json(what)}, indent=1, ensure_ascii=True)
        try:
            (self.folder / EXPERIMENT).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise HarnessError(f"cannot write evidence to {self.folder}: {error.strerror}") from error

    def event(self, event: str, /, *, t: float | None = None, **values: Any) -> None:
        """Adds `event` to the timeline, at `t` or now."""
        self._write(self._timeline, {"t": time.monotonic() if t is None else t, "event": event, **values})

    def sample(self, line: dict[str, Any]) -> None:
        """Adds one probe sample."""
        self._write(self._probes, line)

    def _write(self, file: IO[str], line: dict[str, Any]) -> None:
        text = json.dumps(self._redactor.json(line), separators=(",", ":"), ensure_ascii=True) + "\n"
        with self._lock:
            if file.closed:  # a probe's last sample after the end
                return
            try:
                file.write(text)
            except OSError as error:
                raise HarnessError(f"cannot write evidence to {self.folder}: {error.strerror}") from error

    def close(self) -> None:
        """Closes the files; later samples are dropped."""
        with self._lock:
            for file in (self._timeline, self._probes):
                with contextlib.suppress(OSError):  # what could not be written has been told when it was written
                    file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
