"""How a target can be launched."""

from __future__ import annotations

from typing import Literal, get_args

LaunchMode = Literal["process", "container", "systemd"]

MODES: tuple[LaunchMode, ...] = get_args(LaunchMode)
"""In the order in which a manifest that declares several of them is read."""

IN_WORDS: dict[LaunchMode, str] = {
    "process": "a process",
    "container": "a container",
    "systemd": "a systemd unit (emulated)",
}
"""As what a target is launched."""
