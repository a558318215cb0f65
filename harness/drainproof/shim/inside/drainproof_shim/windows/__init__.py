"""An event loop as on Windows, for the target's own code: see docs/explanation/windows.md.

Start reading in `callers` (who sees Windows) and `overlay` (how a module is shown differently). The other modules each
emulate one part: `interpreter` (sys, platform), `imports`, `sockets`, `signals`, `processes`, `workers`
(multiprocessing), `loops`, `deafness` (what Ctrl-C does not interrupt).
"""

from __future__ import annotations

import signal
import sys
from typing import Iterable

from drainproof_shim import bootstrap, channel

REPORTED_AS = "windows"
"""The name of the report that says that the emulation is complete."""

OLDEST, NEWEST = (3, 9), (3, 13)
"""The versions of Python that the golden data were recorded for."""


def activate(*, roots: Iterable[str], packages: Iterable[str]) -> None:
    """Shows Windows to the code in the folders `roots` (absolute) and in the top-level packages `packages`.

    Reports `fired` when all is in place. On a Python that the emulation is not made for it reports trouble and does
    nothing. Raises what goes wrong; the emulation is incomplete then.
    """
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        channel.report("trouble", text="cannot emulate Windows on Python {}.{}".format(*sys.version_info[:2]))
        return
    if any(argument.startswith("from multiprocessing.resource_tracker") for argument in bootstrap.command_line()):
        signal.signal(signal.SIGTTIN, signal.SIG_IGN)  # Windows has no such process: console events pass it by
        return
    from drainproof_shim.windows import (
        callers,
        deafness,
        imports,
        interpreter,
        loops,
        processes,
        signals,
        sockets,
        workers,
    )

    callers.configure(roots=roots, packages=packages)
    signals.install()
    processes.install()
    workers.install()
    sockets.install()
    loops.install()
    deafness.install()
    interpreter.install()
    imports.install()
    channel.report(
        "fired", fault=REPORTED_AS, site="sys:platform", shot=1, exception=None, thread="MainThread", task=None,
        where="before the target's first line",
    )  # fmt: skip
