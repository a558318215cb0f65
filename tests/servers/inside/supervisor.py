"""Runs server.py as its only worker, and ends two seconds after it, non-zero: python supervisor.py PORT"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

status = subprocess.call([sys.executable, str(Path(__file__).with_name("server.py")), *sys.argv[1:]])
time.sleep(2.0)  # what other workers would take to drain
sys.exit(1 if status else 0)
