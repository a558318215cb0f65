"""A front end that answers for a worker in Python, as servers do whose front end is another language.

python -I foreign_front.py PORT WORKER: serves 500 until the program WORKER has written a line, and the token from then
on. With -I, drainproof's shim stays out of the front end, and is in the worker.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVES = threading.Event()


class Front(BaseHTTPRequestHandler):
    """Ready from the first moment on."""

    def do_GET(self) -> None:
        self._answer(200, b"ready")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(200 if SERVES.is_set() else 500, body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def watch(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdout is not None
    if worker.stdout.readline():
        SERVES.set()


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Front)
with subprocess.Popen([sys.executable, sys.argv[2]], stdout=subprocess.PIPE) as process:
    threading.Thread(target=watch, args=[process], daemon=True).start()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    process.kill()
