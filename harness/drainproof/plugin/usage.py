"""Mistakes of the user, as pytest tells them."""

from __future__ import annotations

import pytest

from drainproof.text import printable
from drainproof.workflow_commands import for_terminal


def usage_error(text: object) -> pytest.UsageError:
    """The error with this text, which may hold names of files and parts of a manifest: made fit for the terminal."""
    return pytest.UsageError(for_terminal(printable(str(text))))
