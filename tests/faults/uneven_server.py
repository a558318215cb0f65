"""Two processes on one listener. The second takes only what the first leaves lying.

python uneven_server.py PORT [waits]    `waits`: the parent waits for a child whenever it gets a SIGCHLD
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time

STOPPED: list[bool] = []
LEFT_LYING = 0.1
"""Seconds after which the second takes a connection that the first has not accepted."""


def serve(listener: socket.socket, *, first: bool) -> None:
    listener.setblocking(False)
    while True:
        select.select([listener], [], [])
        if not (first or left_lying(listener)):
            continue
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(True)
            with connection:
                answer(connection)


def left_lying(listener: socket.socket) -> bool:
    until = time.monotonic() + LEFT_LYING
    while time.monotonic() < until:
        time.sleep(0.005)
        if not select.select([listener], [], [], 0)[0]:
            return False
    return True


def answer(connection: socket.socket) -> None:
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(65536)
    head, _, body = read.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    time.sleep(0.02)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=256)
    children = []
    for first in (True, False):
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            serve(listener, first=first)
        children.append(child)
    if "waits" in sys.argv:
        signal.signal(signal.SIGCHLD, lambda *_: os.wait())  # which blocks where a child was only stopped
    signal.signal(signal.SIGTERM, lambda *_: STOPPED.append(True))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    while not STOPPED:
        time.sleep(0.05)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for child in children:
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
