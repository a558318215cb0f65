"""A model on TorchServe: echoes what it is sent, at once, after some milliseconds, or never.

`POST /predictions/echo` with `{"token": "a", "ms": 500}` is answered after half a second with
`{"token": "a", "pid": 4711}`, where `pid` is the worker's. `ms` may be left out (0), or be `"endless"`. For each
request the worker prints `works on a`, so that a request that was worked on twice is seen.

A worker works on one batch at a time, and answers it when the slowest request in it is done. TorchServe hands on a body
that is no JSON as it is, so it is the handler's part to refuse it, and each request of a batch has its own status.
"""

import os
import time


class Echo:
    """TorchServe takes the one class of this file, and calls `initialize` once and `handle` for each batch."""

    def initialize(self, context):
        """Loads nothing."""

    def handle(self, data, context):
        """Answers each request of the batch; `data` has a mapping for each, with the decoded body."""
        answers = []
        delays = [0]
        for index, body in enumerate(row.get("body") for row in data):
            if not _is_right(body):
                context.set_response_status(code=400, phrase="Bad Request", idx=index)
                answers.append({"error": 'expected {"token": …, "ms": a number, or "endless"}'})
                continue
            # One write for the whole line: TorchServe reads it, and prints it as a line of its own log.
            print(f"works on {body['token']}\n", end="", flush=True)
            delays.append(body.get("ms", 0))
            answers.append({"token": body["token"], "pid": os.getpid()})
        if "endless" in delays:
            while True:
                time.sleep(3600)
        time.sleep(max(delays) / 1000)
        return answers


def _is_right(body):
    if not isinstance(body, dict) or not isinstance(body.get("token"), str):
        return False
    ms = body.get("ms", 0)
    return ms == "endless" or (isinstance(ms, (int, float)) and not isinstance(ms, bool) and 0 <= ms < 86_400_000)
