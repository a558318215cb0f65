"""All that a command says goes through here: results, evidence and servers may hold anything, workflow commands too.

Say whole lines: a workflow command is recognized at the beginning of one.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from drainproof.text import printable
from drainproof.workflow_commands import for_terminal


def say(text: str) -> None:
    """Writes lines to stdout, at once. Raises OSError."""
    sys.stdout.write(for_terminal(text))
    sys.stdout.flush()


def json_text(value: Any) -> str:
    """JSON to be said: its strings hold nothing that a runner takes for a command, so that it stays as it is."""
    return json.dumps(value, indent=1).replace("##[", "#\\u0023[") + "\n"


def complain(text: str) -> None:
    """Writes lines to stderr. Never raises: whoever complains has something better to do than to fail."""
    try:
        sys.stderr.write(for_terminal(printable(text)) + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def give_up_stdout() -> None:
    """Drops what could not be written: the interpreter would try again at its end, and change the exit status."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
