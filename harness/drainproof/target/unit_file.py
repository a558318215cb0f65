"""Reads a systemd unit file: what is started, and how it is stopped. Pure; systemd itself is not needed.

Only what a stop depends on is understood. A key that changes what is started or stopped, and that is not emulated here
(`ExecStop=`, `Type=forking`, …), is a mistake: to leave it out would judge another service than the real one. All other
keys (limits, sandboxing, users) are left out of account, and named in `SystemdSpec.not_emulated`.

Lost: the parsers on PyPI, which read sections and keys and leave quoting, specifiers, variables and time spans to their
users; and `systemd-analyze`, which is not there where a server is tested.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drainproof.nearest import did_you_mean
from drainproof.target import placeholders
from drainproof.target.systemd_spec import KILL_MODES, RESTARTS, SystemdSpec

REFUSED = {
    "ExecStartPre": "what runs before the start",
    "ExecStartPost": "what runs after the start",
    "ExecCondition": "what decides about the start",
    "ExecStop": "a stop by a command of its own",
    "ExecStopPost": "what runs after the stop",
    "EnvironmentFile": "variables from a file; put them into systemd.env",
    "RootDirectory": "another root directory",
    "RootImage": "another root directory",
    "PIDFile": "a main process that is found by a file",
}
"""Keys that change what is started or stopped, and what they stand for."""

TYPES = ("simple", "exec", "notify", "notify-reload", "idle")
"""Types whose main process is the one that is started."""

SILENT = frozenset({"Type", "RestartSec", "RestartKillSignal", "TimeoutStartSec", "ExecReload"})
"""Keys that have no effect on what is looked at here, and need no mention."""

MULTIPLE = frozenset({"Environment", "SuccessExitStatus", "RestartPreventExitStatus", "RestartForceExitStatus"})
"""Keys whose values add up; an empty one takes back all before it. ExecStart is one too, but may have one value."""

EXIT_NAMES = {
    "SUCCESS": 0,
    "FAILURE": 1,
    **{name.removeprefix("EX_"): int(getattr(os, name)) for name in dir(os) if name.startswith("EX_")},
}
"""Exit statuses by their names (of sysexits.h; systemd's own from 200 on are not among them)."""

_UNITS = {
    **dict.fromkeys(("usec", "us", "µs", "μs"), 1e-6),
    **dict.fromkeys(("msec", "ms"), 1e-3),
    **dict.fromkeys(("seconds", "second", "sec", "s", ""), 1.0),
    **dict.fromkeys(("minutes", "minute", "min", "m"), 60.0),
    **dict.fromkeys(("hours", "hour", "hr", "h"), 3600.0),
    **dict.fromkeys(("days", "day", "d"), 86400.0),
    **dict.fromkeys(("weeks", "week", "w"), 7 * 86400.0),
}

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}

_FOLDERS = {"t": "/run", "T": "/tmp", "V": "/var/tmp", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc"}
"""Specifiers for folders, as the system manager has them."""


class UnitFileError(ValueError):
    """The unit file cannot be read, or cannot be emulated; the text says where and why, a line for each mistake."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What was read."""

    command: tuple[str, ...]
    """The words of ExecStart, with the variables in them not replaced yet."""
    expands: bool
    """Whether variables are replaced (not after `ExecStart=:`)."""
    environment: Mapping[str, str]
    working_directory: str
    """Absolute; systemd's default is `/`."""
    spec: SystemdSpec

    def command_template(self, more: Mapping[str, str]) -> list[str]:
        """The command as a template of placeholders. `more`: variables added to the unit's, as templates."""
        known = {**{name: placeholders.escape(value) for name, value in self.environment.items()}, **more}
        if not self.expands:
            return [placeholders.escape(word) for word in self.command]
        first, *rest = self.command
        return [placeholders.escape(first), *(each for word in rest for each in _expand(word, known))]

    def environment_template(self) -> dict[str, str]:
        """The unit's own variables as templates."""
        return {name: placeholders.escape(value) for name, value in self.environment.items()}


@dataclass
class _Service:
    """The keys of `[Service]`, in reading order, and the mistakes that were found."""

    values: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)

    def last(self, key: str, default: str) -> tuple[int, str]:
        found = self.values.get(key)
        return found[-1] if found and found[-1][1] else (0, default)

    def all(self, key: str) -> list[tuple[int, str]]:
        """The values that count: those after the last empty one."""
        found = self.values.get(key, [])
        start = max((i + 1 for i, (_, value) in enumerate(found) if not value), default=0)
        return found[start:]

    def wrong(self, line: int, text: str) -> None:
        self.mistakes.append(f"line {line}: {text}" if line else text)


def read_unit(path: Path) -> Unit:
    """Reads a `.service` file. Raises UnitFileError, which lists all mistakes, or OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnitFileError(f"not UTF-8: {error.reason}") from error
    return parse_unit(text, name=path.name, path=path)


def parse_unit(text: str, *, name: str, path: Path | None = None) -> Unit:
    """Reads the text of a unit file that has this name. Raises UnitFileError."""
    service = _sections(text)
    _refuse(service)
    command, flags = _command(service, name)
    environment = _environment(service, name)
    unit = Unit(
        command=tuple(command),
        expands=":" not in flags,
        environment=environment,
        working_directory=_working_directory(service, name),
        spec=_spec(service, ignore_failure="-" in flags, path=path),
    )
    if service.mistakes:
        raise UnitFileError("\n".join(service.mistakes))
    return unit


def _sections(text: str) -> _Service:
    """The lines of `[Service]`. Comments end nothing: they may stand within a continued line."""
    service, section = _Service(), ""
    pending, begun = "", 0
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        stripped = raw.strip()
        if stripped.startswith(("#", ";")):
            continue
        if not pending:
            begun = number
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        line, pending = (pending + stripped).strip(), ""
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            continue
        key, equals, value = line.partition("=")
        if not equals:
            service.wrong(begun, f"{line!r} is neither a section nor KEY=VALUE")
        elif not section:
            service.wrong(begun, f"{key.strip()}= stands before the first section")
        elif section == "Service":
            service.values.setdefault(key.strip(), []).append((begun, value.strip()))
    if not service.values and not service.mistakes:
        service.wrong(0, "it has no [Service] section: expected the unit file of a service")
    return service


def _refuse(service: _Service) -> None:
    for key, meaning in REFUSED.items():
        for line, _ in service.all(key):
            service.wrong(line, f"{key}= is not emulated ({meaning})")
    line, kind = service.last("Type", "simple")
    if kind not in TYPES:
        service.wrong(line, f"Type={kind} is not emulated: expected one of {', '.join(TYPES)}")
    line, mode = service.last("TimeoutStopFailureMode", "terminate")
    if mode != "terminate":
        service.wrong(line, f"TimeoutStopFailureMode={mode} is not emulated: expected terminate")


def _command(service: _Service, name: str) -> tuple[list[str], str]:
    """The words of ExecStart, and the special characters that stand before them."""
    found = service.all("ExecStart")
    if not found:
        service.wrong(0, "[Service] has no ExecStart=: it says nothing of what to start")
        return [], ""
    if len(found) > 1:
        service.wrong(found[1][0], "a second ExecStart=: only Type=oneshot may have several, and is not emulated")
    line, value = found[0]
    words = _words(service, line, value, name)
    if not words:
        service.wrong(line, "ExecStart= has no command")
        return [], ""
    flags = re.match(r"[-@:+!]*", words[0])
    prefix = flags[0] if flags else ""
    words[0] = words[0][len(prefix) :]
    if "@" in prefix:
        service.wrong(line, "ExecStart=@… (another argv[0]) is not emulated")
    if ";" in words:
        service.wrong(line, "several commands in ExecStart=: only Type=oneshot may have them, and is not emulated")
    if words[0].startswith("$"):
        service.wrong(line, f"the program itself may not be a variable ({words[0]})")
    elif "/" in words[0] and not words[0].startswith("/"):
        service.wrong(line, f"{words[0]!r} is a relative path: systemd wants an absolute one, or a bare name")
    return [";" if word == "\\;" else word for word in words], prefix


def _environment(service: _Service, name: str) -> dict[str, str]:
    variables: dict[str, str] = {}
    for line, value in service.all("Environment"):
        for word in _words(service, line, value, name):
            variable, equals, content = word.partition("=")
            if not equals or not re.fullmatch(r"[A-Za-z_]\w*", variable, re.ASCII):
                service.wrong(line, f"Environment= has {word!r}: expected NAME=VALUE, in quotes where it has blanks")
            else:
                variables[variable] = content
    return variables


def _working_directory(service: _Service, name: str) -> str:
    line, value = service.last("WorkingDirectory", "/")
    value = _specifiers(service, line, value.removeprefix("-"), name)
    if not value.startswith("/"):
        service.wrong(line, f"WorkingDirectory={value}: expected an absolute path (~ is not emulated: systemd.cwd)")
        return "/"
    return value


def _spec(service: _Service, *, ignore_failure: bool, path: Path | None) -> SystemdSpec:
    known = {
        *("ExecStart", "Environment", "WorkingDirectory", "KillMode", "KillSignal", "FinalKillSignal", "SendSIGKILL"),
        *("SendSIGHUP", "TimeoutStopSec", "TimeoutSec", "TimeoutStopFailureMode", "Restart", *MULTIPLE, *REFUSED),
    }
    success, prevent, force = (
        _statuses(service, key) for key in ("SuccessExitStatus", "RestartPreventExitStatus", "RestartForceExitStatus")
    )
    values: dict[str, Any] = {
        "kill_mode": _one_of(service, "KillMode", KILL_MODES),
        "kill_signal": _signal(service, "KillSignal", "SIGTERM"),
        "final_kill_signal": _signal(service, "FinalKillSignal", "SIGKILL"),
        "send_sigkill": _truth(service, "SendSIGKILL", default=True),
        "send_sighup": _truth(service, "SendSIGHUP", default=False),
        "restart": _one_of(service, "Restart", RESTARTS),
        **_timeout_stop(service),
    }
    return SystemdSpec(
        unit=path,
        ignore_failure=ignore_failure,
        success_codes=success[0],
        success_signals=success[1],
        prevent_codes=prevent[0],
        prevent_signals=prevent[1],
        force_codes=force[0],
        force_signals=force[1],
        not_emulated=tuple(sorted(set(service.values) - known - SILENT)),
        **values,
    )


def _one_of(service: _Service, key: str, choices: tuple[str, ...]) -> str:
    line, value = service.last(key, choices[0])
    if value in choices:
        return value
    why = " (no process is stopped then)" if key == "KillMode" and value == "none" else ""
    service.wrong(line, f"{key}={value}{why}: expected one of {', '.join(choices)}.{did_you_mean(value, choices)}")
    return choices[0]


def _signal(service: _Service, key: str, default: str) -> str:
    line, value = service.last(key, default)
    found = signal_name(value)
    if found is None:
        service.wrong(line, f"{key}={value}: expected the name of a signal, such as {default}")
        return default
    return found


def signal_name(value: str) -> str | None:
    """The name of a signal that is written as systemd takes it: `SIGTERM`, `TERM` or `15`."""
    if value.isdigit():
        return next((each.name for each in signal.Signals if each.value == int(value)), None)
    name = value if value.startswith("SIG") else f"SIG{value}"
    return name if name in signal.Signals.__members__ else None


def _truth(service: _Service, key: str, *, default: bool) -> bool:
    line, value = service.last(key, "yes" if default else "no")
    if value.lower() in ("1", "yes", "y", "true", "t", "on"):
        return True
    if value.lower() not in ("0", "no", "n", "false", "f", "off"):
        service.wrong(line, f"{key}={value}: expected yes or no")
    return False


def _timeout_stop(service: _Service) -> dict[str, float]:
    """`TimeoutSec=` sets it too: the later one of the two counts."""
    both = [each for key in ("TimeoutStopSec", "TimeoutSec") for each in service.values.get(key, []) if each[1]]
    if not both:
        return {}
    line, value = max(both)
    seconds = time_span(value)
    if seconds is None:
        service.wrong(line, f"TimeoutStopSec={value}: expected seconds, or a time span such as 1min 30s")
        return {}
    return {"timeout_stop": seconds or math.inf}  # 0 means "no timeout" here, for old times' sake


def time_span(text: str) -> float | None:
    """Seconds of a time span as systemd.time(7) has it; infinity for `infinity`; None where it is none."""
    if text == "infinity":
        return math.inf
    parts = re.findall(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-zµμ]*)", text)
    if not parts or re.sub(r"\s*\d+(?:\.\d+)?\s*[A-Za-zµμ]*", "", text).strip():
        return None
    if any(unit not in _UNITS for _, unit in parts):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _statuses(service: _Service, key: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Exit codes and signals."""
    codes: list[int] = []
    signals: list[str] = []
    for line, value in service.all(key):
        for word in value.split():
            if word.isdigit() and int(word) <= 255:
                codes.append(int(word))
            elif word in EXIT_NAMES:
                codes.append(EXIT_NAMES[word])
            elif not word.isdigit() and (name := signal_name(word)) is not None:
                signals.append(name)
            else:
                service.wrong(line, f"{key}= has {word!r}: expected a status from 0 to 255, its name, or a signal's")
    return tuple(codes), tuple(signals)


def _words(service: _Service, line: int, value: str, name: str) -> list[str]:
    """The words of a value, unquoted, with specifiers replaced."""
    try:
        words = split_words(value)
    except ValueError as error:
        service.wrong(line, str(error))
        return []
    return [_specifiers(service, line, word, name) for word in words]


def split_words(text: str) -> list[str]:
    """Words as systemd.syntax(7) quotes them. Raises ValueError for a quote without its end, or an unknown escape."""
    words: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position >= len(text):
            return words
        word, quote = "", ""
        if text[position] in "\"'":
            quote, position = text[position], position + 1
        while position < len(text) and (quote or not text[position].isspace()):
            if text[position] == quote:
                break
            if text[position] == "\\" and text[position : position + 2] != "\\;":
                character, position = _unescape(text, position)
                word += character
                continue
            word += text[position]
            position += 1
        if quote:
            if position >= len(text):
                raise ValueError(f"a {quote} without its end")
            position += 1
            if position < len(text) and not text[position].isspace():
                raise ValueError(f"a blank is missing behind {quote}{word}{quote}")
        words.append(word)


def _unescape(text: str, position: int) -> tuple[str, int]:
    """The character that an escape stands for, and where it ends."""
    for pattern, base in ((r"\\x([0-9a-fA-F]{2})", 16), (r"\\([0-7]{3})", 8), (r"\\u([0-9a-fA-F]{4})", 16)):
        found = re.compile(pattern).match(text, position)
        if found:
            return chr(int(found[1], base)), found.end()
    following = text[position + 1 : position + 2]
    if following in _ESCAPES:
        return _ESCAPES[following], position + 2
    if following and following in "\\\"'":
        return following, position + 2
    raise ValueError(f"unknown escape \\{following}; a backslash itself is written \\\\")


def _specifiers(service: _Service, line: int, text: str, name: str) -> str:
    stem = name.removesuffix(".service")
    prefix, at, instance = stem.partition("@")
    known = {"%": "%", "n": name, "N": stem, "p": prefix, **_FOLDERS}
    if at and instance:
        known["i"] = instance

    def replace(found: re.Match[str]) -> str:
        letter = found[1]
        if letter in known:
            return known[letter]
        if letter == "i":
            service.wrong(line, "%i needs an instance: name the file of one, such as worker@1.service")
        else:
            text = f"the specifier %{letter} is not emulated; known here: {', '.join(f'%{each}' for each in known)}"
            service.wrong(line, text + ". In systemd.command and systemd.env you can say what it stands for")
        return ""

    return re.sub(r"%(.?)", replace, text, flags=re.DOTALL)


def _expand(word: str, known: Mapping[str, str]) -> list[str]:
    """What a word of a command becomes: `$NAME` alone any number of words, all else one. As a template."""
    alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word, re.ASCII)
    if alone:
        return shlex.split(known.get(alone[1], ""))
    parts = re.split(r"\$\{([A-Za-z_]\w*)\}|(\$\$)", word, flags=re.ASCII)
    text = ""
    for index, part in enumerate(parts):
        if index % 3 == 0:
            text += placeholders.escape(part or "")
        elif index % 3 == 1 and part is not None:
            text += known.get(part, "")
        elif part is not None:
            text += "$"
    return [text]
