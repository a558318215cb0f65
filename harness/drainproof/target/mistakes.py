"""Mistakes in a manifest, told in the manifest's own terms: the key, the value given, what was expected instead.

pydantic finds the mistakes, but its own words ("Input should be a valid dictionary or instance of Start") speak of
Python. So every value is checked by a function of ours that says what it expected (`wrong`), checks across several keys
name the key they complain about (`wrong_at`), and the few errors that pydantic itself raises about the structure are
translated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from drainproof.hidden import REDACTED
from drainproof.nearest import did_you_mean, nearest
from drainproof.redaction import without_secrets, words_without_secrets
from drainproof.secret_names import names_a_secret

Location = tuple[str | int, ...]
"""Where a value is: keys of tables, indices of arrays (from 0)."""

MOST_SHOWN = 100
"""Characters of a value that a message shows."""

PASSWORD_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")

_NOTHING = object()


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One mistake, ready to be printed."""

    key: str
    """Dotted, indices in brackets: `request[1].duration`."""
    value: str | None
    """As shown to the user; None where the key is missing."""
    text: str
    """What was expected, and what to write instead."""

    def __str__(self) -> str:
        given = self.key if self.value is None else f"{self.key} = {self.value}"
        return f"  {given}\n      {self.text}"


def wrong(text: str) -> PydanticCustomError:
    """The error to raise for the value that is being checked."""
    return PydanticCustomError("wrong", "see the context", {"found": [((), text)]})


def wrong_at(found: Sequence[tuple[Location, str]]) -> PydanticCustomError:
    """The error to raise from a check across keys: what is wrong where, relative to the table that is being checked."""
    return PydanticCustomError("wrong", "see the context", {"found": list(found)})


def report(mistakes: Sequence[Mistake], *, file: str) -> str:
    """All mistakes of one file as one text."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    return "\n".join([f"{file}: {count}", *map(str, mistakes)])


def translate(error: ValidationError, *, model: type[BaseModel], data: Mapping[str, Any], prefix: str) -> list[Mistake]:
    """What pydantic found in `data`, in our words.

    `prefix` is put in front of each key (`tool.drainproof.` or nothing).
    """
    errors = error.errors(include_url=False)
    misspelt = {_meant(each["loc"], model) for each in errors if each["type"] == "extra_forbidden"}
    found = []
    for each in errors:
        if each["type"] == "missing" and each["loc"] in misspelt:
            continue  # it is there, under a wrong name, and that is said
        for location, text in _explain(each, model):
            place, value = _look_up(data, location)
            secret = place[:1] != ("secrets",) and any(names_a_secret(str(part)) for part in place)
            shown = None if value is _NOTHING else REDACTED if secret else show(_without_secrets(value))
            # some texts tell how to write the value instead
            told = text.replace(str(value), REDACTED) if secret and str(value) else without_secrets(text)
            found.append(Mistake(key=prefix + dotted(place), value=shown, text=told))
    return found


def dotted(location: Iterable[str | int]) -> str:
    """`("request", 1, "duration")` as `request[1].duration`; keys that TOML would quote are quoted."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text


def show(value: Any) -> str:
    """A TOML value on one line, cut where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # an integer of thousands of digits
        return "(a value too large to show)"
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _without_secrets(value: Any) -> Any:
    """The value of a key, without what is a secret by the name that it has inside of it."""
    if isinstance(value, Mapping):
        return {k: REDACTED if names_a_secret(str(k)) else _without_secrets(each) for k, each in value.items()}
    if isinstance(value, str):
        return PASSWORD_IN_URL.sub(rf"\1{REDACTED}@", without_secrets(value))
    return [_without_secrets(each) for each in words_without_secrets(value)] if isinstance(value, list) else value


def _explain(details: ErrorDetails, model: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    """Where and what, for one error of pydantic."""
    location = tuple(part for part in details["loc"] if part != "[key]")  # its mark for "the key itself is wrong"
    kind = details["type"]
    if kind == "wrong":
        for relative, text in details["ctx"]["found"]:
            yield (*location, *relative), text
    elif kind == "extra_forbidden":
        yield location, _unknown_key(location, model)
    elif kind == "missing":
        yield location, f"missing; expected {_description(location, model)}"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        yield location, f"expected a table{_hint(location)}"
    elif kind == "list_type":
        yield location, f"expected an array{_hint(location)}"
    else:  # none that is known; pydantic's own words are better than none
        yield location, details["msg"]


def _hint(location: Location) -> str:
    if location == ("request",):
        return " of tables: [[request]], with two pairs of brackets, once for each kind of request"
    if len(location) == 1:
        return f": [{location[0]}]"
    return ""


def _unknown_key(location: Location, model: type[BaseModel]) -> str:
    table = _model_at(location[:-1], model)
    valid = _keys(table) if table is not None else {}
    key = str(location[-1])
    suggestion = did_you_mean(key, valid)
    if not suggestion:
        homes = [home for home, keys in _sections(model) if key in keys]
        suggestion = f" It belongs in {' or '.join(homes)}." if homes else ""
    return f"unknown key.{suggestion} Valid here: {', '.join(valid)}"


def _meant(location: Location, model: type[BaseModel]) -> Location | None:
    """The key that the unknown key at `location` probably is."""
    table = _model_at(location[:-1], model)
    found = None if table is None else nearest(str(location[-1]), _keys(table))
    return None if found is None else (*location[:-1], found)


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The manifest's sections as they are written, with their keys."""
    yield "the top of the file, before the first [section],", _keys(model)
    for name, annotation in _keys(model).items():
        for section in (each for each in (annotation, *get_args(annotation)) if _is_model(each)):
            yield (f"[[{name}]]" if get_origin(annotation) is list else f"[{name}]"), _keys(section)


def _keys(table: type[BaseModel]) -> dict[str, Any]:
    """The keys of a table, and the type of each."""
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def _model_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the table at `location`; None where there is no table with known keys."""
    here: Any = model
    for part in location:
        if isinstance(part, int):
            here = next(iter(get_args(here)), None)
        else:
            table = _as_model(here)
            here = None if table is None else _keys(table).get(part)
    return _as_model(here)


def _as_model(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model` and in `Model | None`."""
    candidates = () if get_origin(annotation) is list else (annotation, *get_args(annotation))
    return next((each for each in candidates if _is_model(each)), None)


def _is_model(value: Any) -> bool:
    # for Python 3.10, list[X] is an instance of type as well, and issubclass then fails
    return get_origin(value) is None and isinstance(value, type) and issubclass(value, BaseModel)


def _description(location: Location, model: type[BaseModel]) -> str:
    table = _model_at(location[:-1], model)
    for name, field in table.model_fields.items() if table is not None else ():
        if (field.alias or name) == location[-1] and field.description:
            return field.description
    return "a value"


def _look_up(data: Any, location: Location) -> tuple[Location, Any]:
    """The value at `location` and the location as far as the file has it.

    A command that was given as one string has no elements to point at: its own key is the most precise there is. A key
    that is not there at all is a missing one.
    """
    here = data
    for depth, part in enumerate(location):
        if isinstance(part, int):
            if not isinstance(here, list) or part >= len(here):
                return location[:depth], here
            here = here[part]
        elif isinstance(here, Mapping) and part in here:
            here = here[part]
        else:
            return location, _NOTHING
    return location, here
