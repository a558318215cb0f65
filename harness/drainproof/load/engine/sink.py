"""Where the ledger's lines go.

One engine process writes its own file (`FileSink`). This interface is also the place where Locust's distributed mode
joins: a sink in a Locust worker would hand its lines to `runner.send_message("drainproof-ledger", lines)` at each
`flush`, and its count at `close`; the master, having called `runner.register_message("drainproof-ledger", …)`, would
write what arrives into one `FileSink`. Ids then need the worker's index in them (`Book` counts from 0 by 1), and a
schedule is shared by giving the worker with index i of n the arrivals i, i + n, i + 2n, … (`streams.Steady`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol


class LedgerNotWritten(Exception):
    """The ledger cannot be written (a full disk, say). The text says where and why, and is all that a user needs."""


class Sink(Protocol):
    """Takes ledger lines, in the order in which requests end."""

    def write(self, line: str) -> None:
        """Takes one line with its line feed. Cheap: it is called once for every request, between two events."""

    def flush(self) -> None:
        """Hands over what was taken so far. The run calls this at least every half second."""

    def close(self) -> None:
        """Flushes; there are no more lines."""


class FileSink:
    """Appends lines to a new file at each flush, so that a crash loses what came after the last one."""

    def __init__(self, *, path: Path) -> None:
        self._path = path
        with self._telling():
            self._file = path.open("xb")  # never over the evidence of another run
        self._lines: list[str] = []
        self.write = self._lines.append

    def flush(self) -> None:
        """Writes what there is in one go."""
        if self._lines:
            text = "".join(self._lines)
            self._lines.clear()
            with self._telling():
                self._file.write(text.encode())
                self._file.flush()

    def close(self) -> None:
        """Flushes and closes the file."""
        self.flush()
        with self._telling():
            self._file.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LedgerNotWritten(f"cannot write evidence to {self._path}: {error.strerror}") from error
