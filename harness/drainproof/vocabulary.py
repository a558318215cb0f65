"""Words that are never searched for as a secret, whatever has them as its value: hidden, they would spoil the evidence.

`COMMON` are whole values: ordinary words, and those of the evidence's and the manifest's own, by which it is judged.
`SIGNATURES` are what is looked for in a target's output: a value that is a part of one would hide it.
"""

from __future__ import annotations

import builtins
import signal

_ORDINARY = """
true false yes no on off none null nil unset empty enabled disabled enable disable default auto required optional test
tests testing dev development prod production staging local localhost example sample demo debug info warning error
secret password token admin root user guest public private unknown anonymous bearer basic digest http https stdout
stderr launch signal process container systemd worker workers request server client ready predict python
changeme us-east-1
"""

_EVIDENCE = """
aborted accepted after always answered at-cut-off awaited backlog before before-answer before-body better body closed
complete connect connect_failed connect_timeout connected constant control-group crossing ctrl-break ctrl-c cut data
declared default done doubling dropped elsewhere ended engine eof exception_ignored exit-code exits fail failed fails
fibonacci file file-added file-changed file-missing forces_exit fork forkserver good group grpc handled hangs head hung
ignored in-answer in-body in-head incomplete inconclusive init late lost loop_closed main manifest-changed
manifest-damaged manifest-missing memory mixed must must+should never never_awaited never_retrieved no-regression
not-a-file not-judged not-reproduced note on-abnormal on-abort on-failure on-success on-watchdog outside pass port
protocol refused reset results results-changed reuse right routed_elsewhere running semaphore send shared shared_memory
shell should socket spawn starting stays_up_not_ready stopping stream_refused stream_reset success tampered
task_destroyed timeout turned unavailable under unfinished unit unix_socket unlucky unreadable unsupported untested
victim waiting worse wrapper wrong
"""

_SENTENCES = frozenset({"under way", "conforming", "conforming with notes", "not conforming"})

_EXCEPTIONS = frozenset(
    name.casefold()
    for name, each in vars(builtins).items()
    if isinstance(each, type) and issubclass(each, BaseException)
)
"""The names in which a traceback ends."""

COMMON = (
    frozenset([*_ORDINARY.split(), *_EVIDENCE.split(), "cancellederror"])
    | _SENTENCES
    | _EXCEPTIONS
    | {name.casefold() for name in signal.Signals.__members__}
)
"""Values that are searched for nowhere; in lower case."""

_HEADS = (
    "exception ignored in: <function ",
    "exception ignored while calling deallocator",
    "exception ignored on threading shutdown",
    "exception ignored in atexit callback",
    "runtimewarning: coroutine method '",
    "runtimewarning: coroutine '",
    "' was never awaited",
    "task was destroyed but it is pending!",
    "task exception was never retrieved",
    "future exception was never retrieved",
    "+ exception group traceback (most recent call last):",
    "runtimeerror: event loop is closed",
)
"""What a signature of asyncio's debris begins, or ends, with; see `probes/debris.py`."""

SIGNATURES = (
    *_HEADS,
    " task: <task pending name='task-",
    " future: <task finished name='task-",
    " future: <future finished exception=",
    "coroutine created at (most recent call last)",
    "runtimewarning: enable tracemalloc to get the object allocation traceback",
    "source_traceback: object created at (most recent call last):",
    "during handling of the above exception, another exception occurred:",
    "the above exception was the direct cause of the following exception:",
    "address already in use",
    "eaddrinuse",
    "[errno 98]",
)
"""What is looked for in a target's output, as it is written there; in lower case."""

_TELLING = (
    "exception ignored",
    "runtimewarning: ",
    "was never awaited",
    "task was destroyed",
    "was never retrieved",
    "traceback (most recent",
    "event loop is closed",
)
"""A value that contains one of these would hide a whole signature."""


SHORTEST_LINE = 8
"""Characters of a line of a secret that has several (a private key) for the line to be searched for alone."""


def searched_alone(value: str) -> list[str]:
    """The value, and of one with several lines those that are searched for by themselves."""
    lines = value.splitlines() if "\n" in value else []
    return [value, *(line for each in lines if len(line := each.strip()) >= SHORTEST_LINE)]


def spoils_a_signature(value: str) -> bool:
    """Whether hiding the value, or a line of it, would hide a signature that is looked for."""
    return any(
        any(text in each for each in SIGNATURES) or any(each in text for each in _TELLING)
        for text in searched_alone(value.casefold())
    )
