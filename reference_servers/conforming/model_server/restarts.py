"""When a worker that has died is started again: after a delay that doubles with each failure, up to a limit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

STEADY = 5.0
"""Seconds that a worker must have been up for its end to count as a first failure again."""


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """`--restart-delay` and `--max-restarts`."""

    first_delay: float = 0.4
    max_restarts: int = 3

    def delay(self, failures: int) -> float | None:
        """Seconds to the next attempt after so many failures in a row; None: no further attempt."""
        if failures > self.max_restarts:
            return None
        return self.first_delay * float(2 ** (failures - 1))

    def describe(self) -> dict[str, Any]:
        """For whoever asks which settings are in force."""
        return {"schedule": "doubling", "first_delay": self.first_delay, "max_restarts": self.max_restarts}


@dataclass(kw_only=True)
class Slot:
    """The place of one worker: its failures in a row, and when it is to be filled again."""

    failures: int = 0
    due: float | None = None
    up_since: float | None = None

    def fill(self) -> None:
        """A worker has just been started in it."""
        self.due, self.up_since = None, None

    def fail(self) -> None:
        """Its worker has ended."""
        if self.up_since is not None and time.monotonic() - self.up_since > STEADY:
            self.failures = 0
        self.failures += 1
        self.up_since = None
