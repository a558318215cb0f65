"""The scripts `environment` and `run` of the real servers, tried without a network: with a stub for `python3.11`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.reference_servers.truths import SERVERS

STUB = """#!/bin/sh
# Stands for python3.11: notes what it is asked, makes the venv's python a copy of itself, fails to install on demand.
echo "$*" >>"$STUB_LOG"
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
if [ "$1 $2 $3" = "-m pip install" ] && [ -n "$STUB_PIP_FAILS" ]; then echo "no network" >&2; exit 1; fi
exit 0
"""


def run_script(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs one of the scripts to its end."""
    return subprocess.run(
        [str(script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


class Environments:
    """The script `environment` of one server with a stub for python3.11, in a cache folder of its own."""

    def __init__(self, server: str, folder: Path) -> None:
        self.script = SERVERS / server / "environment"
        self.cache = folder / "cache"
        self.log = folder / "log"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.stub("python3.11", STUB)

    def stub(self, name: str, text: str) -> None:
        """Puts a program of this name in front of all others."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def make(self, version: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `environment`; what the stub was asked in this run is in `asked` afterwards."""
        self.log.write_text("")
        result = run_script(
            self.script,
            version,
            PATH=f"{self.bin}:{os.environ['PATH']}",
            DRAINPROOF_ENVIRONMENTS=str(self.cache),
            STUB_LOG=str(self.log),
            **environment,
        )
        self.asked = self.log.read_text()
        return result
