"""How many checks the user's selection left out, in whatever way it was made.

pytest tells of some of the ways alone (`pytest_deselected`: `-k`, `-m`, `--deselect`). Of others nothing is ever
collected: a path or a node id (`drain.py::TestStop`), and the files that `--lf` skips. So nothing is counted on the
way; when the selection has been made, everything is collected once more, past pytest's hooks, and compared with what is
left. That takes as long as the collection itself, less than a second.

What is counted is every check of every installed scenario package, and of the user's own files that were collected:
a run of one file of the user's own has not judged the rules that drainproof comes with, and cannot be complete.

Considered and lost: adding up `pytest_deselected` (blind for the ways above), a table of the options that narrow a run
(other plugins have options too), and a second session of pytest (its hooks would be called, and seen, twice).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drainproof.nearest import did_you_mean
from drainproof.plugin import naming, options
from drainproof.plugin.collection import is_for
from drainproof.plugin.collectors import PackageCollector, package_collector
from drainproof.plugin.folders import CheckKey
from drainproof.plugin.run import Run


@dataclass(frozen=True, kw_only=True)
class Census:
    """What the selection came to."""

    left_out: int
    """How many checks are not among the tests of the session, once it has selected.

    Judging again, it is what the saved run left out and what this one leaves out of that, each once.
    """
    gone: tuple[str, ...]
    """A sentence for each check that was to be run again, and that does not exist."""
    selected: frozenset[CheckKey]
    """The checks that are to run."""


def take(session: pytest.Session, run: Run) -> Census:
    """Counts what `session` has selected, and what there is."""
    selected = _named(session.items)
    if run.saved is not None:
        everything, unreadable = set(run.saved.keys), run.saved.deselected
    else:
        everything, unreadable = _everything(session, run)
    return Census(
        left_out=len(everything - selected) + unreadable,
        gone=tuple(_missing(run, everything | selected)),
        selected=frozenset(selected),
    )


def _missing(run: Run, everything: set[CheckKey]) -> Iterator[str]:
    """What was red, was to be run again, and is not there: somebody renamed it, or took it away."""
    there = {(scenario, check) for scenario, check in naming.without_repetitions(everything, run.repeat)}
    names = {scenario for scenario, _ in there}
    for scenario, check in sorted((run.asked.rerun or frozenset()) - there):
        option = options.name_of(run.config, options.RERUN_FAILED)
        hint = "" if scenario in names else did_you_mean(scenario, names)
        yield f"{option}={run.wanted.rerun_failed}: {scenario} {check} was red, and there is no such check now.{hint}"


def _named(items: Iterable[pytest.Item]) -> set[CheckKey]:
    """The checks among the tests that have their names already."""
    checks = (item.stash.get(naming.CHECK, None) for item in items)
    return {(check.scenario.id, check.name) for check in checks if check is not None}


def _everything(session: pytest.Session, run: Run) -> tuple[set[CheckKey], int]:
    """All checks that there are, and the number of modules that cannot say: each has one at least."""
    found: set[CheckKey] = set()
    unreadable = 0
    for module in [*_modules_of_packages(session, run), *_modules_of_the_user(session.items)]:
        try:
            items = [item for item in _tests(module) if is_for(item, run.target)]
        except pytest.skip.Exception:
            continue
        except (Exception, pytest.fail.Exception):  # a module that was not selected does not stop the run
            unreadable += 1
            continue
        checks = (item for item in items if hasattr(getattr(item, "function", None), naming.REQUIREMENT))
        found.update((naming.scenario_id(item, run.packages), naming.check_name(item)) for item in checks)
    return found, unreadable


def _modules_of_packages(session: pytest.Session, run: Run) -> Iterator[pytest.Collector]:
    """The modules of all scenario packages."""
    folders: list[pytest.Collector] = [
        package_collector(session, path=package.folder, nodeid=package.nodeid, module=package.module)
        for package in run.packages
        if package.folder.is_dir()
    ]
    while folders:
        for inside in folders.pop().collect():
            if isinstance(inside, PackageCollector):
                folders.append(inside)
            elif isinstance(inside, pytest.Collector):
                yield inside


def _modules_of_the_user(items: Iterable[pytest.Item]) -> Iterator[pytest.Collector]:
    """The files outside of the packages that hold checks; of each, all may be there or a part."""
    seen: dict[Path, pytest.Module] = {}
    for item in items:
        module = item.getparent(pytest.Module)
        if module is not None and naming.CHECK in item.stash and item.getparent(PackageCollector) is None:
            seen.setdefault(module.path, module)
    for path, module in seen.items():
        yield type(module).from_parent(module.parent, path=path)


def _tests(collector: pytest.Collector) -> Iterator[pytest.Item]:
    for inside in collector.collect():
        if isinstance(inside, pytest.Item):
            yield inside
        elif isinstance(inside, pytest.Collector):
            yield from _tests(inside)
