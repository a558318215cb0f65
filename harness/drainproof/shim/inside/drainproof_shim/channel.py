"""The reports: one line of JSON each, appended to `reports.jsonl` in the session folder.

Design. A report has to survive fork, spawn, forkserver and exec, come from any user, thread or signal handler, and
cost the target nothing when nobody reads. So: a file, opened with O_APPEND for each report and closed again, one
`os.write`. What lost: an inherited pipe or socket (a descriptor that daemons close and whose number they reuse, gone
after exec, and a reader that stops reading blocks the target); a connection per process (needs a listener, a thread,
or both); a descriptor kept open (closed, or worse, reused by a server that closes all descriptors). `json` is not
imported: it would bring `re` into every interpreter of the target.
"""

import _thread
import os
import time

TYPE_CHECKING = False  # `typing` is not imported: it would be in every interpreter of the target
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])

# Taken now: a fail point may be one of them, and it is the target's calls that shall fail, not ours.
system_open, system_close, system_write, system_pread = os.open, os.close, os.write, os.pread
_getpid, _fchmod, _clock = os.getpid, os.fchmod, time.clock_gettime
get_ident = _thread.get_ident

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONGEST = 4000  # characters of one value

_folder = ""

inside = set()  # type: set[int]
"""Threads that are at work for the shim, whose calls pass every gate. A signal's handler in them passes, too."""


def guarded(function: "_Function") -> "_Function":
    """A function of the shim, whose calls of the target's fail points are none."""

    def guarded_function(*args: "Any", **named: "Any") -> "Any":
        me = get_ident()
        if me in inside:
            return function(*args, **named)
        inside.add(me)
        try:
            return function(*args, **named)
        finally:
            inside.discard(me)

    return guarded_function  # type: ignore[return-value]


def connect(folder: str) -> None:
    """Reports go to `folder` (absolute) from now on."""
    global _folder  # noqa: PLW0603 - one session per process
    _folder = folder


def folder() -> str:
    """The session folder; empty when there is none."""
    return _folder


def now() -> float:
    """CLOCK_MONOTONIC in seconds: one clock for all processes of a host."""
    return _clock(time.CLOCK_MONOTONIC)


@guarded
def report(event: str, **values: object) -> bool:
    """Append one report; whether it was written. Never raises."""
    try:
        line = {"event": event, "t": now(), "pid": _getpid()}  # type: dict[str, object]
        line.update(values)
        data = (encode(line) + "\n").encode("ascii")
        file = open_shared("reports.jsonl", os.O_WRONLY | os.O_APPEND)
        try:
            return system_write(file, data) == len(data)
        finally:
            system_close(file)
    except Exception:
        return False


def trouble(what: str, problem: BaseException) -> None:
    """Report that the shim itself failed at something."""
    report("trouble", text="{}: {}: {}".format(what, type(problem).__name__, problem))


def open_shared(name: str, flags: int) -> int:
    """A descriptor of the file `name` of the session folder, made when missing, and open to every user.

    Workers may run as another user than their parent, and the umask is the target's.
    """
    path = _folder + "/" + name
    try:
        return system_open(path, flags)
    except FileNotFoundError:
        file = system_open(path, flags | os.O_CREAT, 0o666)
        try:
            _fchmod(file, 0o666)
        except OSError:
            pass
        return file


def encode(value: object) -> str:
    """JSON in ASCII of None, booleans, numbers, strings, lists, tuples and dicts; of anything else its text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(encode(str(key)) + ": " + encode(item) for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([encode(item) for item in value]) + "]"
    return '"' + "".join([_ESCAPES.get(c) or _character(c) for c in str(value)[:_LONGEST]]) + '"'


def _character(character: str) -> str:
    code = ord(character)
    if 32 <= code < 127:
        return character
    if code < 0x10000:
        return "\\u%04x" % code
    code -= 0x10000
    return "\\u%04x\\u%04x" % (0xD800 | code >> 10, 0xDC00 | code & 0x3FF)
