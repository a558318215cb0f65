"""Arms faults: finds their sites when the modules are imported."""

from __future__ import annotations

from typing import Sequence

from drainproof_shim.plan import Fault


def arm(faults: Sequence[Fault]) -> None:
    """Arms the faults in this interpreter."""
