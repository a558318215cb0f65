"""A wrapper that reports a server which was killed as one that has ended well (CONT-4)."""

import signal
import subprocess
import sys
from pathlib import Path

SERVER = Path(__file__).resolve().parents[2] / "conforming" / "server.py"

if __name__ == "__main__":
    server = subprocess.Popen([sys.executable, str(SERVER), *sys.argv[1:]])
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda signum, frame: server.send_signal(signum))
    status = server.wait()
    sys.exit(0 if status == -signal.SIGKILL else abs(status))
