"""A request that crosses the target's closing of its connection."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import socket
from drainproof.load.engine.http import bytes_acknowledged, came_late

def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]

client, server = pair()
before = bytes_acknowledged(client)
client.send(b"x")
print(came_late(client, before=before))
server.recv(1)
server.shutdown(socket.SHUT_WR)  # a server that has read it, and drops it
client.recv(1)
print(came_late(client, before=before))

client, server = pair()
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)  # as on a connection that answers have gone over
server.shutdown(socket.SHUT_WR)  # closed for writing only: what comes is acknowledged all the same, a moment later
before = bytes_acknowledged(client)
client.send(b"x")
print(came_late(client, before=before))
"""


def test_a_fin_that_left_before_the_request_came_is_told_from_one_that_answers_it() -> None:
    # In a process of its own, since gevent is not for this one.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False", "True"]
