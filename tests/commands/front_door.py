"""The installed command, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.real.runs import environment

COMMAND = Path(sys.executable).with_name("drainproof")


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command came to."""

    status: int
    out: str
    err: str


def drainproof(*args: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Done:
    """Runs the command."""
    done = subprocess.run(
        [COMMAND, *args],
        cwd=cwd,
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(status=done.returncode, out=done.stdout, err=done.stderr)
