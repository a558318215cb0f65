"""Two processes on one listener. The second gets a connection only while the first is stopped, as uneven as can be.

python uneven_server.py PORT [waits] [late] [never]

`waits`: the parent waits for a child whenever it gets a SIGCHLD. `late`: the second takes four seconds to start,
`never`: it starts and never comes up.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

STOPPED: list[bool] = []


def serve(listener: socket.socket, *, instead_of: int | None) -> None:
    """`instead_of`: accepts only while the process of that number is stopped."""
    listener.setblocking(False)
    while True:
        select.select([listener], [], [])
        if instead_of is not None and not is_stopped(instead_of):
            time.sleep(0.002)
            continue
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            connection.setblocking(True)
            with connection:
                answer(connection)


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


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
    children: list[int] = []
    for _ in range(2):
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if children and {"late", "never"} & set(sys.argv):
                time.sleep(600.0 if "never" in sys.argv else 4.0)
            serve(listener, instead_of=children[0] if children else None)
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
