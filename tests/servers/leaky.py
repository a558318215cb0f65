"""A server that is careless with its secrets: it prints, passes on and answers with whatever it was given.

python leaky.py PORT --api-key KEY. Standard library only; a child that outlives it has the key in its command line.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO
from urllib.parse import quote, unquote, urlsplit

KEY = sys.argv[3]
STOPPING = threading.Event()
HELD: list[str] = []
"""Requests that wait for the stop."""
NAMES = ("HARD_TOKEN", "MARKED", "DATABASE_URL", "INHERITED_PASSWORD", "SIGNING_PRIVATE_KEY", "FLAG_TOKEN")


class Handler(BaseHTTPRequestHandler):
    """Says in its log, and in its answer, what it was asked with."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers with the credentials that came, and for the path /wrong with an error, once it is stopped."""
        asked = self.headers.get("Authorization", "") + " " + self.headers.get("X-Marked", "")
        if self.path != "/ready":
            sys.stdout.write(f"GET {self.path} {asked}\n")
            sys.stdout.flush()
        body = (asked + " ok").encode()
        late = self.path == "/wrong"
        if late:
            HELD.append(self.path)
            STOPPING.wait()
        self.send_response(500 if late else 200, asked.replace("\n", " "))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if late:
            HELD.pop()

    def log_message(self, *_: object) -> None:
        """Nothing more."""


def say(*words: str, to: IO[str] = sys.stdout) -> None:
    """Writes a line, at once."""
    to.write(" ".join(words) + "\n")
    to.flush()


def tell() -> None:
    """Every secret, in every form that comes to mind, and one in two writes with a pause in between."""
    for name in NAMES:
        value = os.environ.get(name, "")
        say(name, value, json.dumps({"v": value}), repr(value), quote(value, safe=""))
        say(base64.b64encode(value.encode()).decode(), base64.b64encode(f"u:{value}".encode()).decode())
    password = urlsplit(os.environ["DATABASE_URL"]).password or ""
    say("connects with", password, unquote(password), to=sys.stderr)
    token = os.environ["HARD_TOKEN"]
    half = len(token) // 2
    for part in ("split: " + token[:half], token[half:] + " done\n"):
        sys.stdout.write(part)
        sys.stdout.flush()
        time.sleep(0.7)  # longer than the keeper waits for the end of a line
    say("x" * 65530 + token + "y" * 100)  # longer than a line may be, and cut there


def stop(*_: object) -> None:
    """Leaves a child behind, and ends with a traceback."""
    child = "import sys, time; time.sleep(30)"
    subprocess.Popen([sys.executable, "-c", child, "--api-key", KEY], stderr=subprocess.DEVNULL)
    STOPPING.set()
    threading.Thread(target=shut_down).start()


def shut_down() -> None:
    """When what was held has been answered."""
    while HELD:
        time.sleep(0.01)
    SERVER.shutdown()


SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
SERVER.daemon_threads = True
tell()
signal.signal(signal.SIGTERM, stop)
SERVER.serve_forever()
raise RuntimeError(f"cannot say goodbye with {KEY} and {os.environ['MARKED']}")
