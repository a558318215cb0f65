"""What a scenario and a check are called: ids, titles, and the command that repeats a scenario."""

from __future__ import annotations

import inspect
import re
import shlex
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drainproof.installed import ScenarioPackage
from drainproof.requirement import Requirement
from drainproof.verdict import repeated, without_repetition

REQUIREMENT = "drainproof_requirement"
"""The attribute by which `drainproof.scenario.requirement` marks a check."""

LAUNCHED = "drainproof_launched"
"""The attribute by which `drainproof.scenario.launched` says in which launch modes a scenario or check makes sense."""

REPEATED = "experiment"
"""The fixture that is parametrised by the number of the repetition: what depends on it is set up once for each."""

RECIPIENTS = {
    "main": "the main process",
    "group": "the whole process group",
    "unit": "the unit (systemd, emulated)",
}

UNSELECTABLE = re.compile(r"[^\w:+\-.\[\]\\/]")
"""What the expression of `-k` does not take in a name."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One situation that a target is brought into: a test class with one set of parameters."""

    id: str
    """Stable: module, class and parameters, such as `drain.TestStopUnderLoad[SIGTERM-main-1w]`.

    Where scenarios are repeated, each run is one of its own: `drain.TestStopUnderLoad[SIGTERM-main-1w-r2]`.
    """
    situation: str
    """The id without the number of the repetition."""
    family: str
    """The module's own name, such as `drain`."""
    title: str
    repeat: str
    """The command that runs just this scenario again."""
    repetition: int = 0
    """The number of this run of it, from 1 on, where each scenario is repeated."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One test function in a scenario that holds the target to one requirement."""

    scenario: Scenario
    requirement: Requirement
    name: str
    """The function's name, with the parameters that are its own."""


SCENARIO = pytest.StashKey[Scenario]()
"""In the stash of each test that belongs to a scenario."""

CHECK = pytest.StashKey[Check]()
"""In the stash of each test that is a check."""


def is_scenario_test(item: pytest.Item) -> bool:
    """Whether the test is ours to order and to name: a check, or something else that runs an experiment."""
    return hasattr(getattr(item, "function", None), REQUIREMENT) or "experiment" in getattr(item, "fixturenames", ())


def split_parameters(item: pytest.Item) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters of the scenario and those of the check alone (function scope), each as text by name."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return {}, {}
    scopes: Mapping[str, Any] = getattr(callspec, "_arg2scope", {})
    shared: dict[str, str] = {}
    own: dict[str, str] = {}
    for name, value in callspec.params.items():
        if name == REPEATED:
            continue
        scope = getattr(scopes.get(name), "value", "class")
        (own if scope == "function" else shared)[name] = _parameter(name, value, callspec.indices.get(name, 0))
    return shared, own


def _parameter(name: str, value: object, index: int) -> str:
    if name in ("workers", "supervised_workers"):
        return f"{value}w"
    if isinstance(value, (str, int, float)) and str(value):
        return str(value)
    return f"{name}{index}"


def scenario_id(item: pytest.Item, packages: Sequence[ScenarioPackage]) -> str:
    """The id of the scenario, and of the one run of it where each is repeated."""
    number = repetition(item)
    situation = situation_id(item, packages)
    return repeated(situation, number) if number else situation


def repetition(item: pytest.Item) -> int:
    """The number of the run of its scenario that a test belongs to, from 1 on; 0 where each runs once."""
    callspec = getattr(item, "callspec", None)
    return 0 if callspec is None else int(callspec.params.get(REPEATED, 0))


def situation_id(item: pytest.Item, packages: Sequence[ScenarioPackage]) -> str:
    """Module, class and parameters. Modules outside the scenario packages are named by their path."""
    node = getattr(item, "cls", None)
    name = getattr(item, "originalname", item.name) if node is None else node.__qualname__
    shared, _ = split_parameters(item)
    return module_name(item, packages) + "." + name + (f"[{'-'.join(shared.values())}]" if shared else "")


def module_name(item: pytest.Item, packages: Sequence[ScenarioPackage]) -> str:
    """The dotted name of the item's module, without the name of the built-in package."""
    dotted = item.nodeid.split("::")[0].removesuffix(".py").replace("/", ".")
    for package in packages:
        if dotted.startswith(package.module + "."):
            return package.prefix + dotted[len(package.module) + 1 :]
    return dotted


def without_repetitions(checks: Iterable[tuple[str, str]], repeat: int) -> Iterator[tuple[str, str]]:
    """Scenario and name of each check, where each scenario runs `repeat` times, without the number of its run."""
    for scenario, check in checks:
        number = re.search(r"[-\[]r([1-9]\d*)\]$", scenario) if repeat > 1 else None
        yield without_repetition(scenario, int(number[1]) if number else 0), check


def check_name(item: pytest.Item) -> str:
    """The function's name with the parameters that are its own."""
    _, own = split_parameters(item)
    return getattr(item, "originalname", item.name) + (f"[{'-'.join(own.values())}]" if own else "")


def title(item: pytest.Item) -> str:
    """The first line of the docstring of the class (or function), with the parameters filled in."""
    described = getattr(item, "cls", None) or getattr(item, "function", None)
    text = inspect.getdoc(described) or "" if described is not None else ""
    first = text.strip().partition("\n")[0].rstrip(". ")
    if not first:
        first = in_words(getattr(described, "__name__", item.name))
    callspec = getattr(item, "callspec", None)
    return fill_in(first, {} if callspec is None else callspec.params)


def fill_in(template: str, parameters: Mapping[str, object]) -> str:
    """`template` with `{name}` replaced by the parameter in words. What is no parameter stays as it is."""
    words = {name: _value_in_words(name, value) for name, value in parameters.items()}
    try:
        return _Lenient().vformat(template, (), words)
    except (ValueError, TypeError):  # a brace that is no placeholder
        return template


class _Lenient(string.Formatter):
    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        return kwargs.get(field_name, "{" + field_name + "}"), field_name


def _value_in_words(name: str, value: object) -> str:
    if name in ("workers", "supervised_workers"):
        return "1 worker" if value == 1 else f"{value} workers"
    if name == "recipient":
        return RECIPIENTS.get(str(value), str(value))
    return str(value)


def in_words(name: str) -> str:
    """`test_accepted_requests_get_their_answer` → `accepted requests get their answer`; `TestStop` → `stop`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").strip()
    return re.sub(r"^test ", "", spaced.lower()) or name


def keyword(identity: str) -> str:
    """The id of a scenario in the characters that `-k` takes; it selects the scenario, because its tests carry it."""
    return UNSELECTABLE.sub("_", identity)


class Selections:
    """Expressions for `-k` that select one scenario and no other one among all.

    `-k` looks for parts of names, whatever their case: another id that holds this one has to be excluded. Repeated
    scenarios are thousands: most ids are in no other one, and that is found out in one search through all of them.
    """

    def __init__(self, everything: Iterable[str]) -> None:
        self._keywords = sorted({keyword(identity) for identity in everything})
        self._text = "\n".join(self._keywords).lower()

    def only(self, identity: str) -> str:
        """The expression for the scenario of this id."""
        mine = keyword(identity)
        if self._text.count(mine.lower()) == 1:
            return mine
        others = (other for other in self._keywords if other != mine and mine.lower() in other.lower())
        return " and not ".join([mine, *others])


def repeat_command(config: pytest.Config, *, options: Sequence[str], expression: str) -> str:
    """The command line that selects by `expression` in a run like this one; `options` are ours with their values."""
    paths: list[str] = list(config.getoption("file_or_dir", None) or [])
    return shlex.join(["pytest", *options, *paths, "-k", expression])


def name_all(
    items: Sequence[pytest.Item],
    *,
    packages: Sequence[ScenarioPackage],
    requirement: Callable[[str], Requirement],
    repeat: Callable[[str], str],
    saved: bool,
) -> None:
    """Puts its `Scenario` (and `Check`) into the stash of each test that belongs to one; `-k` then knows their ids.

    `requirement` looks an id up; `repeat` makes a command from an expression for `-k`. With `saved` evidence, that
    command judges the same run of the scenario again; otherwise it runs the scenario once more.
    """
    ours = {item: scenario_id(item, packages) for item in items if is_scenario_test(item)}
    situations = {item: situation_id(item, packages) for item in ours}
    again = ours if saved else situations
    selections = Selections(again.values())
    scenarios: dict[str, Scenario] = {}
    for item, identity in ours.items():
        if identity not in scenarios:
            number = repetition(item)
            scenarios[identity] = Scenario(
                id=identity,
                situation=situations[item],
                family=Path(item.path).stem,
                title=title(item) + (f", run {number}" if number else ""),
                repeat=repeat(selections.only(again[item])),
                repetition=number,
            )
        item.stash[SCENARIO] = scenarios[identity]
        item.extra_keyword_matches.update({keyword(identity), keyword(situations[item])})
        marked = getattr(getattr(item, "function", None), REQUIREMENT, None)
        if marked is not None:
            check = Check(scenario=scenarios[identity], requirement=requirement(marked), name=check_name(item))
            item.stash[CHECK] = check
            item.extra_keyword_matches.add(check.requirement.id)
