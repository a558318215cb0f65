"""Workflow commands of GitHub Actions: how text becomes a part of one, and how text is kept from being one.

The runner reads every line that is printed, whoever prints it. It takes one for a command that begins with `::` behind
any blanks, and one that has `##[` anywhere. So what comes from a target must not be printed as it is.
"""

from __future__ import annotations

import os
import re

_LINE = re.compile(r"(?<![^\r\n])(?=[^\S\r\n]*::)")
"""Where a line begins that is a command. The runner ends lines at `\\r`, too."""


def in_github_actions() -> bool:
    """Whether this runs there."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def inert(text: str) -> str:
    """`text` without commands: a backslash takes the sign its meaning."""
    return _LINE.sub(r"\\", text).replace("##[", r"#\#[")


def for_terminal(text: str) -> str:
    """`text` as it may be printed here: inert in GitHub Actions, else as it is."""
    return inert(text) if in_github_actions() else text


def escaped_data(text: str) -> str:
    """The message of a command, as the runner takes it apart again."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """The value of a property, which must hold neither of the signs that end one."""
    return escaped_data(text).replace(":", "%3A").replace(",", "%2C")
