"""Runs server.py as its only worker: python supervisor.py PORT [switch …]

without a switch   ends two seconds after the worker, non-zero
comes-and-goes     replaces the worker by others that serve for less than a second each, with pauses, for ever
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, str(Path(__file__).with_name("server.py")), *sys.argv[1:]]

status = subprocess.call(COMMAND)
while "comes-and-goes" in sys.argv:
    time.sleep(2.5)
    with subprocess.Popen(COMMAND) as worker:
        time.sleep(0.8)
        worker.kill()
time.sleep(2.0)  # what other workers would take to drain
sys.exit(1 if status else 0)
