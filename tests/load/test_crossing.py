"""A request that crosses the target's closing of its connection."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import socket
from drainproof.load.engine.http import has_hung_up

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.send(b"x")
print(has_hung_up(client))
server.shutdown(socket.SHUT_WR)  # closed for writing only: what comes is acknowledged all the same
client.send(b"x")
print(has_hung_up(client))
"""


def test_a_fin_that_is_there_is_seen_right_after_the_send() -> None:
    # In a process of its own, since gevent is not for this one.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "True"]
