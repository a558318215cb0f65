"""The fault "start method": `multiprocessing` has one already when the target's first line runs.

Design. It is preset in interpreters that somebody started as programs, and not in those that `multiprocessing` starts
for itself (a spawned worker, the fork server, the resource tracker): their parent hands its own start method down to
them, and so it would without us. Those are told by their command line, `-c "from multiprocessing.… import …"`, since
nothing else differs this early: `sys.argv` holds only `-c`, `parent_process()` is not set up yet, and a variable in the
environment would also mark the programs that the target starts by itself.

*explicit* is `set_start_method(method)`. *implicit* is what a library does that just uses `multiprocessing` (a lock, a
queue, `get_context()`): the default context is taken. The default is made to be `method` first, as a platform or a CUDA
library would choose it; nobody has called `set_start_method`, and still a later call raises "context has already been
set".
"""

from __future__ import annotations

from typing import Any

from drainproof_shim import bootstrap, channel

FAULT = "start_method"


def preset(method: str, how: str) -> None:
    """Preset `method` (`fork`, `spawn`, `forkserver`), `explicit` or `implicit`, and report it."""
    if started_by_multiprocessing():
        return
    import multiprocessing
    from multiprocessing import context

    if how == "explicit":
        multiprocessing.set_start_method(method)
        site = "multiprocessing:set_start_method"
    else:
        default: Any = context._default_context
        default._default_context = default.get_context(method)
        multiprocessing.get_context()
        site = "multiprocessing:get_context"
    if multiprocessing.get_start_method(allow_none=True) != method:
        raise RuntimeError("the start method is not {!r} after all".format(method))
    channel.report(
        "fired",
        fault=FAULT,
        site=site,
        shot=1,
        exception=None,
        thread="MainThread",
        task=None,
        where="before the target's first line",
        method=method,
        how=how,
        argv=bootstrap.command_line()[:64],
    )


def started_by_multiprocessing() -> bool:
    """Whether this interpreter is a child of `multiprocessing` itself, not a program."""
    return any(argument.startswith("from multiprocessing.") for argument in bootstrap.command_line())
