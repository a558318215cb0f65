"""The reaper: a process of its own that removes what a session made in an engine, whatever becomes of the session.

It holds the reading end of a pipe whose other end only the session's process has: the pipe ends when that process does,
in whatever way. Started in a session of its own, with the usual signals ignored, so that a terminal's Ctrl-C and the
kill of a process group leave it alone. Where it is killed too, the next session on this machine removes the rest, by
the owner that the labels name.

Considered and lost: Ryuk (an image that many machines neither have nor can pull), `--rm` (removes what ended, not what
runs).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from drainproof.target.container import engine, labels

END = 60.0
"""Seconds that it may take to remove everything at an orderly end."""

TRIES = 10
"""So often it tries where the engine does not answer, a second apart: it may be starting again."""


class Reaper:
    """The session's end of the line to its reaper."""

    def __init__(self, *, session: str) -> None:
        reading, self._writing = os.pipe()
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-m", "drainproof.target.container.reaper", session],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        os.close(reading)

    def close(self) -> None:
        """Lets it remove what is left, and waits until it has. Idempotent."""
        if self._process is None:
            return
        os.close(self._writing)
        try:
            self._process.wait(END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def main(session: str) -> None:
    """Waits for the end of the session, and then removes what bears its label."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    for _ in range(TRIES):
        try:
            client = engine.connect(engine.address()).client
            # A container whose creation was under way when its session died appears after the first look.
            while labels.remove(client, which=lambda found: found.get(labels.SESSION) == session):
                time.sleep(0.1)
        except Exception:
            engine.connect.cache_clear()
            time.sleep(1.0)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1])
