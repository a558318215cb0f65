"""How a target can be launched."""

from __future__ import annotations

from typing import Literal, get_args

LaunchMode = Literal["process", "container", "systemd"]

MODES: tuple[LaunchMode, ...] = get_args(LaunchMode)
"""In the order in which a manifest that declares several of them is read."""
