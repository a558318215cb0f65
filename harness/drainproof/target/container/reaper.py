"""The reaper: a process of its own that removes what a session made in an engine, whatever becomes of the session.

It holds the reading end of a pipe whose other end only the session's process has: the pipe ends when that process does,
in whatever way. Started in a session of its own, with the usual signals ignored, so that a terminal's Ctrl-C and the
kill of a process group leave it alone. Where it is killed too, the next session on this machine removes the rest, by
the owner that the labels name.

Where the engine has gone away, it says so, and the session ends without waiting; the reaper stays until the engine is
there again, for some minutes.

Considered and lost: Ryuk (an image that many machines neither have nor can pull), `--rm` (removes what ended, not what
runs).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from drainproof.target.container import engine, labels

END = 60.0
"""Seconds that it may take to remove everything at an orderly end."""

AWAY = 600.0
"""Seconds that an engine is waited for which does not answer: it may be starting again."""

BUSY = 30.0
"""Seconds for which an object is tried again that the engine does not remove: it is busy with it, or too slow."""

LATE = 10.0
"""Seconds after the end of a session, sudden or with something broken off, in which something may still appear: a
container whose creation was under way."""

ORDERLY = b"."
"""What a session sends that ends in order: nothing is under way."""


class Reaper:
    """The session's end of the line to its reaper."""

    def __init__(self, *, session: str) -> None:
        reading, self._writing = os.pipe()
        self._session = session
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
            [sys.executable, "-m", "drainproof.target.container.reaper", session],
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        os.close(reading)

    def close(self, *, orderly: bool = True) -> None:
        """Lets it remove what is left, and waits until it has, unless the engine is away. Idempotent.

        `orderly`: nothing is under way in the engine. Else the reaper waits `LATE` seconds for what may still appear.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if orderly:
            with contextlib.suppress(OSError):  # it was killed
                os.write(self._writing, ORDERLY)
        os.close(self._writing)
        assert process.stdout is not None
        with process.stdout:
            ready, _, _ = select.select([process.stdout], [], [], END)
            if not ready or process.stdout.read(1):
                process.returncode = 0  # it goes on without us: nobody shall warn that it was forgotten
                return
        if process.wait(END) != 0:
            with contextlib.suppress(Exception):
                remove_all(engine.connect(engine.address()).client, session=self._session, quiet=0.0)


def main(session: str) -> None:
    """Waits for the end of the session, and then removes what bears its label."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    said = b""
    while data := os.read(0, 4096):
        said = data
    quiet = 0.0 if said == ORDERLY else LATE
    give_up = time.monotonic() + AWAY
    while time.monotonic() < give_up:
        try:
            client = engine.connect(engine.address()).client
            remove_all(client, session=session, quiet=quiet)
        except Exception:
            engine.connect.cache_clear()
            with contextlib.suppress(OSError):
                os.write(1, b"the engine is away\n")
            time.sleep(1.0)
        else:
            return


def remove_all(client: Any, *, session: str, quiet: float) -> None:
    """Removes what bears the session's label, until nothing does; for `quiet` seconds something may still appear.

    What the engine has not removed after `BUSY` seconds is left to the next session.
    """
    began = time.monotonic()
    while True:
        found = labels.remove(client, which=lambda found: found.get(labels.SESSION) == session)
        if time.monotonic() >= began + (max(BUSY, quiet) if found else quiet):
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
