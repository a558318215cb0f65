"""A model on TorchServe: echoes what it is sent, at once, after some milliseconds, or never.

`POST /predictions/echo` with `{"token": "a", "ms": 500}` is answered after half a second with
`{"token": "a", "pid": 4711}`, where `pid` is the worker's. `ms` may be left out (0), or be `"endless"`.

A worker works on one batch at a time, and a batch is answered when the slowest request in it is done.
"""

import os
import time


class Echo:
    """TorchServe takes the one class of this file, and calls `initialize` once and `handle` for each batch."""

    def initialize(self, context):
        """Loads nothing."""

    def handle(self, data, context):
        """Answers each request of the batch; `data` has a mapping for each, with the decoded body."""
        bodies = [row.get("body") for row in data]
        delays = [body.get("ms", 0) if isinstance(body, dict) else 0 for body in bodies]
        while "endless" in delays:
            time.sleep(3600)
        time.sleep(max(delays) / 1000)
        return [
            {"token": body.get("token"), "pid": os.getpid()} if isinstance(body, dict) else {"pid": os.getpid()}
            for body in bodies
        ]
