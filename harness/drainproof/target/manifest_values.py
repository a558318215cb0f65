"""The kinds of values in a manifest: one checking function for each, which says what it expected.

pydantic's own conversions are not used at all: `"8080"` is not a number here, and `1` is not a truth.
"""

from __future__ import annotations

import builtins
import json
import math
import re
import shlex
import signal
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import BeforeValidator, PlainValidator

from drainproof.load.answer import GRPC_CODES
from drainproof.nearest import did_you_mean
from drainproof.target.description import ENDLESS
from drainproof.target.mistakes import Location, wrong, wrong_at
from drainproof.target.windows import BREAK

LONGEST = 86_400
"""Seconds in a day: nobody waits longer, and the system's timers take no more than some weeks."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""HEAD is left out: its answer has no body to judge."""

FRAMING_HEADERS = frozenset({"connection", "content-length", "transfer-encoding"})
"""They say how a message is cut out of the connection, which is the load engine's own business."""

TOKEN = "{token}"
"""What stands in a request for the text that is unique to each copy of it."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        quoted = f' (in quotes: "{value}")' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise wrong(f"expected a string{quoted}")
    return value


def _argument(value: Any) -> str:
    if "\0" in _text(value):
        raise wrong("expected a string without NUL characters")
    return str(value)


def _variable(value: Any) -> str:
    if not _argument(value) or "=" in value:
        raise wrong('expected the name of an environment variable, not empty and without "="')
    return str(value)


def _name(value: Any) -> str:
    if not _text(value).strip() or not value.isprintable() or len(value) > 100:
        raise wrong("expected a name: 1 to 100 printable characters")
    return str(value)


def _words(value: Any) -> Any:
    """One string is split as a shell would, but no shell will run it: what only a shell understands is refused."""
    if not isinstance(value, str):
        if not isinstance(value, list):
            raise wrong("expected an array of strings, or one string")
        return value
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise wrong(f"the quotes in it do not match ({str(error).lower()})") from error
    for word in words:
        if word in {"&&", "||", "|", ";", "&", ">", "<", ">>", "2>&1"}:
            raise wrong(f'no shell runs it, so "{word}" has no meaning; to use a shell: ["sh", "-c", "exec …"]')
    if words and re.match(r"[A-Za-z_]\w*=", words[0]):
        raise wrong(f'no shell runs it, so "{words[0]}" has no meaning; put variables in start.env')
    return words


def _seconds(value: Any) -> float:
    if not _is_number(value) or not 0 < value <= LONGEST:
        raise wrong(f"expected seconds: a number greater than 0, and at most {LONGEST}")
    return float(value)


def _duration(value: Any) -> float:
    if value == ENDLESS:
        return math.inf
    if not _is_number(value) or not 0 < value <= LONGEST:
        raise wrong(f'expected seconds: a number greater than 0, and at most {LONGEST}; or "{ENDLESS}"')
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong("expected true or false, without quotes")
    return value


def _one_or_more(what: str, low: int, high: float) -> Callable[[Any], tuple[int, ...]]:
    """A number, or an array of different numbers, from `low` to `high`."""

    def check(value: Any) -> tuple[int, ...]:
        numbers = value if isinstance(value, list) else [value]
        bad = [
            index
            for index, number in enumerate(numbers)
            if not (isinstance(number, int) and not isinstance(number, bool) and low <= number <= high)
        ]
        if bad and isinstance(value, list):
            raise wrong_at([((index,), f"expected {what}") for index in bad])
        if bad or not numbers:
            raise wrong(f"expected {what}, or an array of them")
        return tuple(sorted(set(numbers)))

    return check


def one_of(*choices: str) -> Callable[[Any], str]:
    """A check for one of these strings."""

    def check(value: Any) -> str:
        if value not in choices:
            suggestion = did_you_mean(value, choices) if isinstance(value, str) else ""
            *others, last = (json.dumps(choice) for choice in choices)
            raise wrong(f"expected {', '.join(others)} or {last}.{suggestion}")
        return str(value)

    return check


def _signal(value: Any) -> str:
    if value in ("SIGKILL", "SIGSTOP"):
        raise wrong("no process can handle it, so none can promise to stop on it in order")
    if not isinstance(value, str) or value not in signal.Signals.__members__:
        if isinstance(value, str):
            suggestion = did_you_mean(value, signal.Signals.__members__)
        else:  # perhaps its number
            suggestion = next((f' Did you mean "{each.name}"?' for each in signal.Signals if each == value), "")
        raise wrong(f'expected the name of a signal, such as "SIGTERM".{suggestion}')
    return value


def _exit_signal(value: Any) -> str:
    return BREAK if value == BREAK else _signal(value)


def _port_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise wrong('expected a name of lower-case letters, digits and "_", such as "http" or "grpc"')
    return value


def _url_path(value: Any) -> str:
    text = _text(value)
    if re.match(r"https?://", text):
        raise wrong("expected the path alone, from its first / on: host and port are the harness's")
    if not text.startswith("/"):
        raise wrong("expected a path that begins with /")
    if not re.fullmatch(r"[!-~]+", text) or "#" in text:
        raise wrong("expected a path of visible ASCII characters without #; others are percent-encoded: %20")
    return text


def _request_path(value: Any) -> str:
    path = _url_path(value)
    if "{" in path.replace(TOKEN, "") or "}" in path.replace(TOKEN, ""):
        raise wrong(f"{TOKEN} is the only placeholder in a path; braces themselves are written %7B and %7D")
    return path


def _rpc_name(value: Any) -> str:
    text = _text(value)
    if re.fullmatch(r"/[A-Za-z_][\w.]*/[A-Za-z_]\w*", text, re.ASCII):
        return text
    found = re.fullmatch(r"/?([A-Za-z_][\w.]*)[./]([A-Za-z_]\w*)", text, re.ASCII)
    hint = f' Did you mean "/{found[1]}/{found[2]}"?' if found else ""
    raise wrong(f'expected the full name of a method, "/package.Service/Method".{hint}')


def _statuses(value: Any) -> tuple[int | str, ...]:
    """HTTP statuses by number, or gRPC status codes by name; which of the two is right is for the request to say."""
    each = value if isinstance(value, list) else [value]
    if not any(isinstance(one, str) and re.match("[A-Za-z]", one) for one in each):
        return _http_statuses(value)
    bad = [(index, one) for index, one in enumerate(each) if one not in GRPC_CODES]
    if bad:
        index, one = bad[0]
        suggestion = did_you_mean(one.upper(), GRPC_CODES) if isinstance(one, str) else ""
        text = f"expected a gRPC status code by its name, or an HTTP status from 200 to 599.{suggestion}"
        raise wrong_at([((index,), text)]) if isinstance(value, list) else wrong(text)
    return tuple(dict.fromkeys(each))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise wrong("expected a number, 0 or more")
    return value


def _header_name(value: Any) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", _text(value)):
        raise wrong("expected the name of a header: letters, digits and -")
    if value.lower() in FRAMING_HEADERS:
        raise wrong("the load engine sets this header itself")
    return str(value)


def _header_value(value: Any) -> str:
    if not re.fullmatch(r"[\t -~]*", _text(value)):
        raise wrong("expected a string on one line, of ASCII characters")
    return str(value)


def _contains(value: Any) -> str:
    if not _text(value):
        raise wrong("expected a text that the answer must contain; every answer contains the empty one")
    return str(value)


def _pattern(value: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(_text(value))
        except (re.error, OverflowError) as error:
            raise wrong(f"expected a regular expression: {error}") from error
    return str(value)


def _package(value: Any) -> str:
    if not _text(value).isidentifier():
        raise wrong('expected the name of a top-level package, such as "uvicorn"')
    return str(value)


def _fail_point(value: Any) -> str:
    """`module:qualified.name`, as entry points are written."""
    module, colon, name = _text(value).partition(":")
    parts = [*module.split("."), *name.split(".")]
    if not colon or not all(part.isidentifier() for part in parts):
        example = '"package.module:Class.method" or "package.module:function"'
        raise wrong(f"expected the place of a function, {example}")
    return str(value)


def _exception(value: Any) -> str:
    """A built-in exception by name, or `module:Class`."""
    text = _text(value)
    if ":" in text:
        return _fail_point(text)
    found = getattr(builtins, text, None)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        known = [
            name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, BaseException)
        ]
        raise wrong(f'expected a built-in exception, or "module:Class".{did_you_mean(text, known)}')
    return text


def _scenario_name(value: Any) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", _text(value)):
        raise wrong("expected a name of at most 40 letters, digits, - and _: it becomes part of the scenario's id")
    return str(value)


def _whole(low: int, high: float) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise wrong(
                f"expected a whole number, {low} or more" + ("" if high == math.inf else f" and at most {high:g}")
            )
        return value

    return check


def _schedule(value: Any) -> str | tuple[float, ...]:
    if isinstance(value, list):
        bad = [index for index, each in enumerate(value) if not _is_number(each) or not 0 <= each <= LONGEST]
        if bad:
            raise wrong_at([((index,), f"expected seconds: a number from 0 to {LONGEST}") for index in bad])
        if not value:
            raise wrong("expected at least one delay in seconds, such as [1, 2, 5]")
        return tuple(float(each) for each in value)
    if value not in (names := ("doubling", "fibonacci", "constant")):
        suggestion = did_you_mean(value, names) if isinstance(value, str) else ""
        text = 'expected "doubling", "fibonacci", "constant", or an array of delays in seconds'
        raise wrong(f"{text}.{suggestion}")
    return str(value)


def _delay(value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= LONGEST:
        raise wrong(f"expected seconds: a number from 0 to {LONGEST}")
    return float(value)


def _share(value: Any) -> float:
    if not _is_number(value) or not 0 <= value < 1:
        raise wrong("expected a share: 0 or more, and below 1")
    return float(value)


def _expression(value: Any) -> str:
    """JMESPath (https://jmespath.org), which finds a value in a JSON document."""
    try:
        jmespath.compile(_text(value))
    except JMESPathError as error:
        raise wrong(f'expected a JMESPath expression, such as "[0].workers[].pid": {error}') from error
    return str(value)


def _token_pattern(value: Any) -> str:
    if "token" not in re.compile(_pattern(value)).groupindex:
        raise wrong(r'expected a regular expression with a group of the name token, such as "ran (?P<token>\w+)"')
    return str(value)


def _probability(value: Any) -> float:
    if not _is_number(value) or not 0 < value <= 1:
        raise wrong("expected a probability: above 0 and at most 1")
    return float(value)


def _json(value: Any) -> Any:
    found = list(_not_json(value, ()))
    if found:
        raise wrong_at(found)
    return value


def _not_json(value: Any, location: Location) -> Iterator[tuple[Location, str]]:
    """What in a TOML value JSON has no form for."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _not_json(each, (*location, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _not_json(each, (*location, index))
    elif isinstance(value, (bool, str)):
        return
    elif not isinstance(value, (int, float)):
        yield location, "JSON has no dates and times; write a string"
    elif isinstance(value, float) and not math.isfinite(value):
        yield location, "JSON has no infinity and no nan"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield location, "expected an integer of 64 bits"


Text = Annotated[str, PlainValidator(_text)]
Argument = Annotated[str, PlainValidator(_argument)]
Name = Annotated[str, PlainValidator(_name)]
Seconds = Annotated[float, PlainValidator(_seconds)]
PackageName = Annotated[str, PlainValidator(_package)]
ExceptionName = Annotated[str, PlainValidator(_exception)]
ScenarioName = Annotated[str, PlainValidator(_scenario_name)]
Count = Annotated[int, PlainValidator(_whole(1, math.inf))]
Shots = Annotated[int, PlainValidator(_whole(1, 255))]
Delay = Annotated[float, PlainValidator(_delay)]
Share = Annotated[float, PlainValidator(_share)]
Restarts = Annotated[int, PlainValidator(_whole(0, math.inf))]
ScheduleName = Annotated[str | tuple[float, ...], PlainValidator(_schedule)]
Expression = Annotated[str, PlainValidator(_expression)]
TokenPattern = Annotated[str, PlainValidator(_token_pattern)]
Probability = Annotated[float, PlainValidator(_probability)]
FailPointSite = Annotated[str, PlainValidator(_fail_point)]
Truth = Annotated[bool, PlainValidator(_truth)]
Arguments = Annotated[list[Argument], BeforeValidator(_words)]
VariableName = Annotated[str, PlainValidator(_variable)]
Variables = dict[VariableName, Argument]
SignalName = Annotated[str, PlainValidator(_signal)]
ExitSignalName = Annotated[str, PlainValidator(_exit_signal)]
UrlPath = Annotated[str, PlainValidator(_url_path)]
Json = Annotated[Any, PlainValidator(_json)]
Duration = Annotated[float, PlainValidator(_duration)]
PortName = Annotated[str, PlainValidator(_port_name)]
PortNumber = Annotated[int, PlainValidator(_whole(1, 65535))]
RequestPath = Annotated[str, PlainValidator(_request_path)]
Headers = dict[Annotated[str, PlainValidator(_header_name)], Annotated[str, PlainValidator(_header_value)]]
Contained = Annotated[str, PlainValidator(_contains)]
Pattern = Annotated[str, PlainValidator(_pattern)]
Method = Annotated[str, PlainValidator(one_of(*METHODS))]
SecondSignal = Annotated[str, PlainValidator(one_of("ignored", "forces_exit"))]
StartupFailure = Annotated[str, PlainValidator(one_of("exits", "stays_up_not_ready"))]
WorkerCounts = Annotated[tuple[int, ...], PlainValidator(_one_or_more("a number of workers, 1 or more", 1, math.inf))]
ExitCodes = Annotated[tuple[int, ...], PlainValidator(_one_or_more("an exit status from 0 to 255", 0, 255))]
_http_statuses = _one_or_more("an HTTP status from 200 to 599", 200, 599)
Statuses = Annotated[tuple[int | str, ...], PlainValidator(_statuses)]
RpcName = Annotated[str, PlainValidator(_rpc_name)]
MessageCount = Annotated[int, PlainValidator(_count)]
ProtocolName = Annotated[str, PlainValidator(one_of("http", "grpc"))]
Streams = Annotated[str, PlainValidator(one_of("complete", "cut"))]
