"""What a manifest says of the target on Windows, and the exit statuses that are right after a console event there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

ConsoleEvent = Literal["Ctrl-C", "Ctrl-Break"]

BREAK = "SIGBREAK"
"""The name under which a policy declares exit statuses after Ctrl-Break; no signal of Linux has it."""

PACKAGES = (
    *("aiohttp", "anyio", "bentoml", "bentoml_cli", "blacksheep", "cherrypy", "daphne", "falcon", "fastapi", "flask"),
    *("granian", "gunicorn", "hypercorn", "kserve", "litestar", "litserve", "mlserver", "quart", "robyn", "sanic"),
    *("starlette", "tornado", "uvicorn", "waitress", "werkzeug"),
)
"""Python servers and what they are built on: they take their way by the platform that they see."""

CONTROL_C_EXIT = 58
"""The lowest byte of STATUS_CONTROL_C_EXIT (0xC000013A): the status of a program that a console event ends."""

RAISED = 3
"""The status of a program that raises a signal at itself and leaves it to the default action."""

_SIGNALS = (
    r"(?<!received )(?<!got )(?<!caught )(?<!module ')"
    r"(?:\bsignals?\b|\bsig(?:int|term|quit|hup|usr[12])\b|add_signal_handler\b)"
)
_HANDLING = r"[ -](?:handl\w+|support)\b"

SAYS_LIMITED = "|".join(
    (
        rf"{_SIGNALS}(?:{_HANDLING}:)?[^,;:.]{{0,60}}?"
        r"\b(?:limited|restricted|unsupported|unavailable|not (?:\w+ )?(?:supported|available|implemented))\b",
        r"\b(?:cannot|can't|can not|could not|unable to|does not|doesn't|do not|don't) "
        rf"(?:install|register|set|add|handle|catch|use|support)\b[^,;:.]{{0,40}}?{_SIGNALS}",
        rf"\b(?:limited|restricted|no|without)(?: \w+)? signals?{_HANDLING}",
        rf"\b(?:limited|restricted|no) support (?:for|of) [^,;:.]{{0,40}}?{_SIGNALS}",
        rf"\b(?:Windows|platform)\b.*{_SIGNALS}[^;:.]{{0,40}}?\b(?:ignored|disabled)\b",
        rf"{_SIGNALS}[^;:.]{{0,40}}?\b(?:ignored|disabled)\b.*\b(?:Windows|platform)\b",
    )
)
"""What a line of the output looks like that says that signal handling is limited."""


@dataclass(frozen=True, kw_only=True)
class WindowsView:
    """Which code sees Windows beside the target's folder, and how the target says that signal handling is limited."""

    packages: tuple[str, ...] = ()
    """Top-level packages, wherever they are installed, in addition to `PACKAGES`."""
    folders: tuple[Path, ...] = ()
    """More folders of the target's own code, absolute."""
    says_limited: str = SAYS_LIMITED
    """A regular expression for a line of the output."""

    def to_json(self) -> dict[str, Any]:
        """The view as JSON values."""
        values = asdict(self)
        return {**values, "packages": list(self.packages), "folders": [str(folder) for folder in self.folders]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WindowsView:
        """Reads what `to_json` wrote."""
        folders = tuple(Path(folder) for folder in value["folders"])
        return cls(packages=tuple(value["packages"]), folders=folders, says_limited=value["says_limited"])


def exit_statuses(event: ConsoleEvent, declared: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The exit statuses that a policy allows after a console event.

    Ctrl-C is held to what is declared for SIGINT. Dying of a signal is a status of its own on Windows, so where 130
    (128 + 2) is allowed, what Windows makes of that is as well. Ctrl-Break has no counterpart here, so a policy may
    declare it by the name SIGBREAK; by default it may be handled, or be died of in each of these ways.
    """
    died = (RAISED, CONTROL_C_EXIT)
    if event == "Ctrl-Break":
        return declared.get(BREAK, (0, *died, 128 + 21))
    codes = declared.get("SIGINT", (0, 130))
    return tuple(sorted({*codes, *died})) if 130 in codes else codes
