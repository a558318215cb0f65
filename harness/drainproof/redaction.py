"""Secrets never reach evidence or reports: which values are secrets, in which forms they show up, and who hides them.

Which: the values of environment variables and headers whose names look like a credential (`names_a_secret`) or are
marked in the manifest; passwords in URLs; what follows an option such as `--api-key`. Declared ones, and those of our
own environment, which the target inherits.

Where: whoever writes evidence gets a `Redactor`. The recorder and the log of the output hide secrets before they
write. What other processes write while an experiment runs (ledger, shim, load balancer, bad clients) is gone through by
`Redactor.clean` when all of them have ended, before anything is judged. Verdicts are redacted when they are made, and
everything else that a report holds right before the reports are written. The server and the load get the real values.

Judging never needs one: whether an answer is the right one is decided while the load runs, and saved.

A value that is an ordinary word, or short, is hidden where it is declared, and searched for nowhere else: evidence in
which each `true` is blackened is worth nothing, and the word betrays nothing.

Hiding must never change a verdict. What the evidence is judged by (`names_cause` and the like) is compared with text
that has been redacted, and `[redacted]` in a regular expression is a class of characters that matches nearly
everything; a secret such as "was never retrieved" would hide a signature. So no such value is searched for. Where the
manifest declares it, that is a mistake in the manifest (`conflicts`), which the owner can mend. One that is inherited
is left out in silence: that an environment has a variable must not make a manifest wrong, and a text that the manifest
has in the open is none of its secrets.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from drainproof import hidden
from drainproof.errors import HarnessError
from drainproof.hidden import REDACTED, Hidden
from drainproof.secret_names import names_a_secret
from drainproof.text import ESCAPE_SEQUENCE
from drainproof.vocabulary import COMMON, SHORTEST_LINE, searched_alone, spoils_a_signature

if TYPE_CHECKING:
    from drainproof.target.description import Target
    from drainproof.verdict import Gate, Known, Results, Stale, Verdict

SHORTEST_GUESSED, SHORTEST_DECLARED = 6, 4
"""Characters that a value must have to be searched for: where its name alone speaks for a secret, and where the
manifest marks it, or its place (a password in a URL) leaves no doubt."""

SHORTEST_NUMBER = 8
"""Digits that a number must have: `MAX_TOKENS = 131072` is none, and every count in the evidence may be the same."""

USER_ALONE = 20
"""Characters from which on a user without a password in a URL is taken for a token."""

_KEPT_KEYS = """
event probe kind record stream end error signal scenario name request cause failure phase disposition status recipient
protocol
"""

KEPT = frozenset(_KEPT_KEYS.split())
"""Keys whose values are words of our own in the evidence (`{"event": "launch"}`): hidden, they would spoil it. A value
is one of those words where it is an identifier; anything else there is looked at like everything."""

PATHS = frozenset({"path", "readiness", "liveness"})
"""Keys of a target whose values are paths with, perhaps, a query."""

PIECE = 1 << 20
"""Bytes that are looked through at once."""

IDENTIFIER = re.compile(r"[A-Za-z_]{1,24}")
BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
PLACEHOLDER = re.compile(r"\{\{|\}\}|\{[^{}]*\}")
COLOURS = re.compile(rb"(?:\x1b|\\u001b)\[[0-?]*[ -/]*[@-~]")
"""The escape sequences that come inside of a text, as they are and as JSON writes them."""
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#@\"'<>]*)@")
HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]*)\s*:\s*(\S[^\"'\r\n]*)")
SCRIPT = re.compile(r"-[a-z]*c")
"""The option of a shell before its script."""
VARIABLE = re.compile(r"\$(?:\w+|\{\w+\})")
OPTION = re.compile(r"-{0,2}([A-Za-z][A-Za-z0-9_.-]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Secrets:
    """`[secrets]` of a manifest: names of environment variables and headers, whatever their case."""

    names: tuple[str, ...] = ()
    """Their values are secrets, although the names do not say so."""
    harmless: tuple[str, ...] = ()
    """Their values are none, although the names say so."""

    def mark(self, name: str) -> bool:
        """Whether the manifest marks the name."""
        return name.casefold() in {each.casefold() for each in self.names}

    def name(self, name: str) -> bool:
        """Whether the value of that name is a secret."""
        if self.mark(name):
            return True
        return names_a_secret(name) and name.casefold() not in {each.casefold() for each in self.harmless}

    def to_json(self) -> dict[str, Any]:
        """JSON values; the inverse of `from_json`."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Secrets:
        """Reads what `to_json` wrote."""
        return cls(names=tuple(value["names"]), harmless=tuple(value["harmless"]))


class Redactor:
    """Hides the secrets of one target. Immutable, so any thread may use it."""

    def __init__(self, values: Iterable[str] = (), *, secrets: Secrets | None = None, told: Iterable[str] = ()) -> None:
        """`values`: those to search for, each of them, in all their forms; `told`: texts with, perhaps, URLs."""
        self._secrets = secrets or Secrets()
        values = {*values, *(password for text in told for password in _in_urls(text))}
        self.forms: tuple[str, ...] = tuple(sorted({form for value in values for form in forms_of(value)}))
        """All texts that are searched for."""
        self._hidden = Hidden(self.forms)

    @classmethod
    def of(cls, target: Target, *, environment: Mapping[str, str] | None = None, told: Iterable[str] = ()) -> Redactor:
        """The redactor of a target that is started from `environment` (None: our own, as it is now).

        `told`: what else the reports will say that the user wrote; the passwords in its URLs are searched for as well.
        """
        values = secrets_of(target, os.environ if environment is None else environment)
        return cls(values, secrets=target.secrets, told=told)

    @classmethod
    def before_a_target(cls, text: str) -> Redactor:
        """For a message, `text`, about a run that does not begin, where no manifest says what is a secret."""
        return cls(_in_environment(os.environ, Secrets()), told=[text])

    def text(self, text: str) -> str:
        """`text` without secrets. Where escape sequences of a terminal are inside of one, it loses all of them."""
        if not self.forms:
            return text
        clean = hidden.replace(text, self.forms, REDACTED)
        if "\x1b" in clean and (bare := ESCAPE_SEQUENCE.sub("", clean)) != clean:
            without = hidden.replace(bare, self.forms, REDACTED)
            return without if without != bare else clean
        return clean

    def json(self, value: Any, *, key: str = "") -> Any:
        """A JSON value without secrets: in its texts, and whatever it is, the value of a name that is a secret's."""
        if isinstance(value, str):
            return value if key in KEPT and IDENTIFIER.fullmatch(value) else self._json_text(value)
        if isinstance(value, Mapping):
            named = key in ("environment", "headers")
            return {
                name: REDACTED
                if named and self._secrets.name(name) and _says_something(each)
                else self.json(each, key=name)
                for name, each in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.json(each) for each in value]
        return value

    def _json_text(self, text: str) -> str:
        """`text` without secrets. What is base64 as a whole (the bytes of a request) stays base64."""
        clean = self.text(text)
        if clean != text and len(text) % 4 == 0 and BASE64.fullmatch(text):
            data = base64.b64decode(text)
            if (without := self._hidden.replace(data)) != data:
                return base64.b64encode(without).decode()
        return clean

    def verdict(self, verdict: Verdict) -> Verdict:
        """A verdict without secrets in what it says."""
        return replace(
            verdict,
            summary=self.text(verdict.summary),
            details=self.text(verdict.details),
            facts=self.json(verdict.facts),
            title=self.text(verdict.title),
            repeat=self.text(verdict.repeat),
            known=None if verdict.known is None else self._known(verdict.known),
        )

    def _known(self, known: Known) -> Known:
        """Its id stays: it was found among the requirements and scenarios, and is compared with them."""
        return replace(known, reason=self.text(known.reason), link=self.text(known.link))

    def _gate(self, gate: Gate) -> Gate:
        return replace(
            gate,
            rule=self.text(gate.rule),
            reasons=tuple(map(self.text, gate.reasons)),
            remarks=tuple(map(self.text, gate.remarks)),
        )

    def _stale(self, stale: Stale) -> Stale:
        known = replace(self._known(stale.known), id=self.text(stale.known.id))
        return replace(stale, known=known, why=self.text(stale.why))

    def results(self, results: Results) -> Results:
        """Results without secrets; the verdicts in them are taken as they are, see `verdict`."""
        return replace(
            results,
            target=self.json(results.target),
            versions=self.json(results.versions),
            command=self.text(results.command),
            gate=None if results.gate is None else self._gate(results.gate),
            stale=tuple(map(self._stale, results.stale)),
        )

    def clean(self, folder: Path) -> None:
        """Takes the secrets out of every file in `folder`. Raises HarnessError where that cannot be done.

        For files that nobody writes to any more, or not yet: one that holds a secret is replaced.
        """
        if not self.forms:
            return
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                self._clean(path)
            except OSError as error:
                raise HarnessError(f"secrets could not be taken out of {path}: {error.strerror}") from error

    def _clean(self, path: Path) -> None:
        """In pieces, or line by line: a ledger may be larger than the memory."""
        with path.open("rb") as file:
            if not self._is_in(file):
                return
        new = path.with_name(f".{path.name}.redacted")
        try:
            with path.open("rb") as file, new.open("wb") as clean:
                if path.suffix == ".json":
                    clean.write(self._clean_json(file.read(), indent=1))
                else:
                    clean.writelines(self._clean_json(line, indent=None) for line in file)
            new.chmod(path.stat().st_mode)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def _is_in(self, file: BinaryIO) -> bool:
        piece = b""
        while more := file.read(PIECE):
            piece = piece[-self._hidden.longest :] + more  # a secret may lie across two pieces
            if self._found_in(piece):
                return True
        return False

    def _found_in(self, data: bytes) -> bool:
        """Whether a secret is in it, also where a target has coloured a part of it."""
        if self._hidden.found_in(data):
            return True
        return b"\x1b" in data.replace(b"\\u001b", b"\x1b") and self._hidden.found_in(COLOURS.sub(b"", data))

    def _clean_json(self, data: bytes, *, indent: int | None) -> bytes:
        """A JSON text is parsed, since in one `\\n` before a secret may be seen as its first letter; others are not."""
        if not self._found_in(data):
            return data
        try:
            value = json.loads(data)
        except ValueError:
            clean = self._hidden.replace(data)
            return self._hidden.replace(COLOURS.sub(b"", clean)) if self._found_in(clean) else clean
        separators = (",", ":") if indent is None else None
        text = json.dumps(self.json(value), indent=indent, separators=separators, ensure_ascii=True)
        return text.encode() + b"\n" * data.endswith(b"\n")


NOTHING = Redactor()
"""Where there are no secrets."""


def secrets_of(target: Target, environment: Mapping[str, str]) -> set[str]:
    """The values to search for: declared by the target, or inherited from `environment`."""
    described = target.to_json()
    found = {*_in_json(described, target.secrets), *_in_environment(environment, target.secrets)}
    judged = _judged_by(described)
    return {
        value
        for value in found
        if REDACTED not in value  # saved evidence has been redacted before
        and not spoils_a_signature(value)
        and not _keys_with(value, judged)
    }


def _in_environment(environment: Mapping[str, str], secrets: Secrets) -> set[str]:
    found: set[str] = set()
    for name, value in environment.items():
        if secrets.name(name):
            found |= _searched(value, least=SHORTEST_DECLARED if secrets.mark(name) else SHORTEST_GUESSED)
        found |= _in_urls(value)
    return found


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A declared secret that cannot be hidden, for the verdicts would change with it."""

    name: str
    """Whose value it is."""
    key: str | None
    """The key of the manifest that has it in what the evidence is judged by; None: a signature is looked for."""


def conflicts(target: Target) -> list[Conflict]:
    """The declared secrets that cannot be hidden."""
    described = target.to_json()
    judged = _judged_by(described)
    found: set[Conflict] = set()
    for value, name in _in_json(described, target.secrets).items():
        keys = [None] if spoils_a_signature(value) else _keys_with(value, judged)
        found |= {Conflict(name=name, key=key) for key in keys}
    return sorted(found, key=lambda each: (each.key or "", each.name))


def _judged_by(described: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The texts of a target that its evidence is compared with, by their keys in the manifest.

    The policy is among them: its words are the manifest's own, and so is no secret that happens to be one.
    """
    workers = described["workers_are"]
    found = [
        ("provoke.load_failure.names_cause", (described["load_failure"] or {}).get("names_cause")),
        ("provoke.worker_failure.names_cause", (described["worker_failure"] or {}).get("names_cause")),
        ("windows.says_limited", described["windows"]["says_limited"]),
        *((f"workers.{key}", workers[key]) for key in ("command", "pid", "executed")),
        *((f"workers.describe.{key}", (workers["describe"] or {}).get(key)) for key in ("settings", "workers")),
        *(("workers.describe.expect", text) for text in _texts((workers["describe"] or {}).get("expect"))),
        *(("policy", text) for text in _texts(described["policy"])),
    ]
    return [(key, text) for key, text in found if text]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield key
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _keys_with(value: str, judged: Iterable[tuple[str, str]]) -> list[str]:
    """The keys of those texts that have the secret in them, as it is or escaped for a regular expression."""
    forms = forms_of(value)
    plain = ((key, text, ESCAPED.sub(r"\1", text)) for key, text in judged)
    return [key for key, text, without in plain if any(form in text or form in without for form in forms)]


def _in_json(value: Any, secrets: Secrets, key: str = "") -> dict[str, str]:
    """What the description of a target declares: variables, headers, arguments, URLs, at whatever place.

    To each value the name that makes it a secret.
    """
    found: dict[str, str] = {}
    if isinstance(value, str):
        found |= dict.fromkeys(_in_urls(value), "a password in a URL")
        if key in PATHS:
            found |= _in_query(value, secrets)
        elif key == "body":
            found |= _in_body(value, secrets)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if key in ("environment", "headers") and isinstance(each, str) and secrets.name(name):
                least = SHORTEST_DECLARED if secrets.mark(name) else SHORTEST_GUESSED
                for part in _of_header(each) if key == "headers" else (each,):
                    found |= dict.fromkeys(_searched(part, least=least), str(name))
            found |= _by_keys(each, secrets) if key == "expect" and name == "json" else {}
            found |= _in_json(each, secrets, name)
    elif isinstance(value, (list, tuple)):
        if key in ("command", "arguments"):
            found |= _in_arguments([each for each in value if isinstance(each, str)], secrets)
        for each in value:
            found |= _in_json(each, secrets)
    return found


def _says_something(value: object) -> bool:
    """Whether there is anything in it but placeholders, which are no secret."""
    return not isinstance(value, str) or bool(PLACEHOLDER.sub("", value).strip())


def _searched(value: str, *, least: int) -> set[str]:
    """The value, or its parts between placeholders, as far as they are worth to be searched for."""
    parts = {part.strip() for part in PLACEHOLDER.split(value)}
    return {part for part in parts if _is_telling(part, least)}


def _is_telling(value: str, least: int) -> bool:
    if len(value) < least or value.casefold() in COMMON or len(set(value)) < 3:  # "xxxxxx", "------"
        return False
    return not value.isdigit() or len(value) >= SHORTEST_NUMBER


def _of_header(value: str) -> Iterator[str]:
    """The value, and the credentials in it: behind the scheme, in Basic's base64, of each cookie."""
    yield value
    scheme, _, rest = value.strip().partition(" ")
    if rest and scheme.casefold() in ("bearer", "basic", "token", "apikey", "negotiate"):
        yield rest
        if scheme.casefold() == "basic":
            try:
                user_and_password = base64.b64decode(rest, validate=True).decode()
            except (binascii.Error, ValueError):
                return
            yield user_and_password
            yield user_and_password.partition(":")[2]
    for cookie in value.split(";"):
        yield cookie.partition("=")[2].strip()


def _in_urls(text: str) -> set[str]:
    """Passwords in URLs, as they are written and as they are meant."""
    found: set[str] = set()
    for userinfo in URL.findall(text):
        user, colon, password = userinfo.partition(":")
        secret = password if colon else user if len(user) >= USER_ALONE else ""
        found |= _searched(secret, least=SHORTEST_DECLARED) | _searched(unquote(secret), least=SHORTEST_DECLARED)
    return found


def _in_query(path: str, secrets: Secrets) -> dict[str, str]:
    return _named(parse_qsl(urlsplit(path).query), secrets)


def _named(pairs: Iterable[tuple[str, str]], secrets: Secrets) -> dict[str, str]:
    """Of names and values, the values of those that are a secret's."""
    return {
        part: name for name, value in pairs if secrets.name(name) for part in _searched(value, least=SHORTEST_GUESSED)
    }


def _in_body(body: str, secrets: Secrets) -> dict[str, str]:
    """In JSON by the names of its keys, otherwise in a form (`name=value&…`)."""
    try:
        return _by_keys(json.loads(body), secrets)
    except (ValueError, RecursionError):
        return _named(parse_qsl(body), secrets)


def _by_keys(value: Any, secrets: Secrets) -> dict[str, str]:
    """In a JSON value: the texts whose key is a secret's name. An array is none: `tokens` are pieces of a text."""
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        found |= _named(((name, each) for name, each in value.items() if isinstance(each, str)), secrets)
        for each in value.values():
            found |= _by_keys(each, secrets)
    elif isinstance(value, list):
        for each in value:
            found |= _by_keys(each, secrets)
    return found


def _in_arguments(words: Sequence[str], secrets: Secrets) -> dict[str, str]:
    """What follows `--api-key`, as the next word or behind `=`; `NAME=value`; and what is inside of a word.

    That is: a script for a shell, an assignment behind an option (`--env=API_KEY=…`), JSON, a header, a query.
    """
    found: dict[str, str] = {}
    for before, word, following in zip(["", *words], words, [*words[1:], ""], strict=False):
        if SCRIPT.fullmatch(before):
            found |= _in_arguments(_shell_words(word), secrets)
            continue
        option = OPTION.fullmatch(word)
        if option is not None and secrets.name(option[1]):
            value = option[2] if option[2] is not None else following if word.startswith("-") else ""
            if not VARIABLE.fullmatch(value):
                found |= dict.fromkeys(_searched(value, least=SHORTEST_GUESSED), str(option[1]))
            continue
        found |= _in_word(word, secrets)
        if option is not None and option[2]:
            found |= _in_arguments([option[2]], secrets)
    return found


def _in_word(word: str, secrets: Secrets) -> dict[str, str]:
    found = _in_query(word, secrets) if "?" in word else {}
    for name, value in HEADER.findall(word):
        if secrets.name(name):
            for part in _of_header(value):
                found |= dict.fromkeys(_searched(part, least=SHORTEST_GUESSED), str(name))
    text = word.replace("{{", "{").replace("}}", "}")  # in a command, braces are doubled
    if text.startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            found |= _by_keys(json.loads(text), secrets)
    elif any(character.isspace() for character in word) and len(parts := _shell_words(word)) > 1:
        found |= _in_arguments(parts, secrets)
    return found


def _shell_words(script: str) -> list[str]:
    """The words of a script; where its quotes do not match, what stands between blanks and the shell's own signs."""
    lexer = shlex.shlex(script, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        return list(lexer)
    except ValueError:
        return re.split(r"[\s;&|()<>\"']+", script)


def forms_of(value: str) -> set[str]:
    """Texts in which a secret shows up: as it is, escaped for JSON, Python, URLs, HTML, shells, in base64, in hex."""
    found = set()
    for text in searched_alone(value):
        found |= {text, repr(text)[1:-1], html.escape(text), html.escape(text, quote=False), shlex.quote(text)}
        for ascii_only in (True, False):
            once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            found |= {once, once.replace("/", "\\/"), json.dumps(once, ensure_ascii=ascii_only)[1:-1]}
        data = text.encode("utf-8", "surrogateescape")
        for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
            found |= {quoted, re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), quoted)}
        found |= _in_base64(data) | {data.hex(), data.hex().upper()}
    found |= _in_lines_of_base64(value.encode("utf-8", "surrogateescape"))
    return found


def _in_base64(data: bytes) -> set[str]:
    """In base64, alone and as a part of something longer: of the three ways in which it can lie, what is always there.

    The characters at both ends also depend on what is beside it.
    """
    found = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found |= {encode(data).decode(), encode(data).decode().rstrip("=")}
        for before in range(3):
            first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
            inner = encode(bytes(before) + data).decode()[first:last]
            if len(inner) >= SHORTEST_GUESSED:
                found.add(inner)
    return found


def _in_lines_of_base64(data: bytes) -> set[str]:
    """In base64 that is broken into lines as MIME and PEM have it: each line."""
    encoded = base64.b64encode(data).decode()
    lines = {encoded[at : at + width] for width in (64, 76) for at in range(0, len(encoded), width)}
    return {line for line in lines if len(line) >= SHORTEST_LINE}


def without_secrets(text: str) -> str:
    """`text`, which a person has written somewhere in a manifest, without what looks like a secret in it.

    For messages about a manifest that cannot be read, so that nothing is known of what it declares.
    """
    nothing = Secrets()
    found = {*_in_urls(text), *_in_query(text, nothing), *_in_body(text, nothing), *_in_arguments([text], nothing)}
    return _replaced(text, sorted(found, key=len, reverse=True))


def words_without_secrets(values: Sequence[Any]) -> list[Any]:
    """The same for an array, which may be a command: what follows `--api-key` is a secret for what is before it."""
    words = [each if isinstance(each, str) else "" for each in values]
    found = sorted(_in_arguments(words, Secrets()), key=len, reverse=True)
    return [_replaced(each, found) if isinstance(each, str) else each for each in values]


def _replaced(text: str, found: Iterable[str]) -> str:
    for value in found:
        text = text.replace(value, REDACTED)
    return text
