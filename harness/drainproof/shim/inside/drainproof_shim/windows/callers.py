"""Who sees Windows: the code that runs, told by its frame.

Design. The target's own files and the frameworks under test see Windows, the standard library and everything else that
is installed keep seeing Linux, because they call the kernel that there really is. What lost: patching the modules for
everybody (the standard library's own `if sys.platform == "win32"` then takes ways that do not exist here), and copies
of the modules for the target alone (`sys`, `os` and `signal` are shared by everybody, and compared by identity).

Code is the target's own if it is the program that was started, if its file lies in one of the roots and is not
installed there (a virtual environment in the target's folder is not the target), or if its module belongs to one of the
packages, wherever that is installed. Code without a file (`eval`, `exec`, `-c`) belongs to the module whose globals it
runs in, or else to whoever runs it.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Iterable, Mapping

_installed = ("/site-packages/", "/dist-packages/")
_library = os.path.dirname(os.path.realpath(os.__file__)) + "/"
_ourselves = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + "/"

_PROGRAM = ("__main__", "__mp_main__")

_roots: tuple[str, ...] = ()
_packages: frozenset[str] = frozenset()
_known: dict[str, bool] = {}
"""The answer for each file name, as code objects carry it."""


def configure(*, roots: Iterable[str], packages: Iterable[str]) -> None:
    """Code in the folders `roots` (absolute) and in the top-level packages `packages` sees Windows from now on."""
    global _roots, _packages  # noqa: PLW0603 - one emulation per process
    _roots = tuple(sorted({os.path.realpath(root).rstrip("/") + "/" for root in roots}))
    _packages = frozenset(packages)
    _known.clear()


def sees_windows(frame: FrameType | None) -> bool:
    """Whether the code that runs in `frame` sees Windows."""
    while frame is not None:
        name = frame.f_code.co_filename
        known = _known.get(name)
        if known is not None:
            return known
        if not name.startswith("<"):
            known = _known[name] = _is_own(name, frame.f_globals)
            return known
        if name.startswith("<frozen"):
            return False
        where = frame.f_globals.get("__file__")
        if isinstance(where, str):
            return _is_own(where, frame.f_globals)
        if frame.f_globals.get("__name__") == "__main__":  # python -c: the command line is the target's
            return True
        frame = frame.f_back  # generated code, or eval with globals of its own: as whoever runs it
    return False


def _is_own(file: str, module: Mapping[str, object]) -> bool:
    spec = module.get("__spec__")
    name = str(getattr(spec, "name", None) or module.get("__name__") or "")
    if name.partition(".")[0] in _packages:
        return True
    path = os.path.realpath(file)
    if path.startswith((_library, _ourselves)):
        return False
    if module.get("__name__") in _PROGRAM:
        return True
    return any(
        path.startswith(root) and not any(part in path[len(root) - 1 :] for part in _installed) for root in _roots
    )


def caller_sees_windows(depth: int = 1) -> bool:
    """Whether the code that called our caller sees Windows; `depth` is greater by the frames in between.

    C code that runs without a Python frame below it (at the very end of an interpreter, in its own threads) does not.
    """
    try:
        frame = sys._getframe(depth + 1)
    except ValueError:
        return False
    return sees_windows(frame)


def outside(frame: FrameType | None, *, files: tuple[str, ...]) -> FrameType | None:
    """The first frame from `frame` on outwards that does not run code of `files` (beginnings of file names)."""
    while frame is not None and frame.f_code.co_filename.startswith(files):
        frame = frame.f_back
    return frame
