"""How scenarios become pytest items: collected from their packages, parametrised from the target, kept together.

What a user's conftest does for the user's tests must not change a verdict: our fixtures are registered at the package
itself, where they win over a conftest's fixture of the same name, autouse fixtures of conftests are left out, and
conftests around the virtual environment are not loaded.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import pytest

from drainproof import requirement
from drainproof.errors import UserError
from drainproof.installed import ScenarioPackage
from drainproof.plugin import naming
from drainproof.plugin.collectors import ClassCollector, ModuleCollector, PackageCollector, package_collector
from drainproof.plugin.run import Run
from drainproof.plugin.usage import usage_error
from drainproof.target.description import Target


class Collection:
    """The hooks of collection."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Takes over the folders of scenario packages."""
        for package in self.run.packages:
            if path.name == package.folder.name and path.resolve() == package.folder.resolve():
                return package_collector(parent, path=path, nodeid=package.nodeid, module=package.module)
        return None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Keeps conftests out that lie around a virtual environment elsewhere: they are nobody's who runs this.

        pytest loads each one above a folder that it collects, unless it is above the root folder too.
        """
        manager = self.run.config.pluginmanager
        usual = manager._confcutdir
        cut = self._cut(collector)
        if cut is None or usual is None or usual in cut.parents:
            return (yield)
        manager._confcutdir = cut
        try:
            return (yield)
        finally:
            manager._confcutdir = usual

    def _cut(self, collector: pytest.Collector) -> Path | None:
        """The folder above which no conftest may be loaded: the scenario package's, also for the folders above it."""
        inside = [node for node in collector.listchain() if isinstance(node, PackageCollector)]
        if inside:
            return inside[0].path
        if isinstance(collector, pytest.Directory) and not isinstance(collector, pytest.Session):
            for package in self.run.packages:
                if collector.path.resolve() in package.folder.resolve().parents:
                    return collector.path / package.folder.name
        return None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makeitem(
        self, collector: pytest.Module | pytest.Class, name: str, obj: object
    ) -> pytest.Collector | list[pytest.Collector] | None:
        """Takes over the classes in scenario packages; imported ones belong to another module."""
        module = collector.getparent(ModuleCollector)
        if module is None or not inspect.isclass(obj) or not name.startswith("Test"):
            return None
        if obj.__module__ != module.module_name or inspect.isabstract(obj):
            return []
        made: ClassCollector = ClassCollector.from_parent(collector, name=name, obj=obj)
        return made

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Runs each scenario once per stop signal, recipient and number of workers, as far as it asks for them.

        And all of that as often as the user asks for.
        """
        has_experiment = "experiment" in metafunc.fixturenames
        if has_experiment:
            self._parametrize(metafunc)
        if self.run.repeat > 1 and (has_experiment or hasattr(metafunc.function, naming.REQUIREMENT)):
            self._repeat(metafunc)

    def _parametrize(self, metafunc: pytest.Metafunc) -> None:
        given = _marked_names(metafunc)
        values = parameters(self.run.target)
        names = [name for name in values if name in metafunc.fixturenames and name not in given]
        if not names:
            return
        # pytest makes a skipped test of an empty set of parameters; ours are taken out when all are collected.
        cases = list(itertools.product(*(values[name] or (_NoCase(),) for name in names)))
        metafunc.parametrize(
            names,
            cases,
            scope="class",
            ids=["-".join(f"{v}w" if isinstance(v, int) else str(v) for v in case) for case in cases],
        )

    def _repeat(self, metafunc: pytest.Metafunc) -> None:
        """Parametrises the fixture `experiment` itself, so that everything that comes from it is made anew each time.

        A parameter on which no fixture depends would leave the evidence of the first run in pytest's cache for all.
        """
        if naming.REPEATED not in metafunc.fixturenames:  # a check that needs no experiment
            metafunc.fixturenames.append(naming.REPEATED)
        numbers = range(1, self.run.repeat + 1)
        metafunc.parametrize(
            naming.REPEATED, list(numbers), indirect=True, scope="class", ids=[f"r{number}" for number in numbers]
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        """Names what there is, and lets pytest and others select."""
        run = self.run
        items[:] = [item for item in items if is_for(item, run.target)]
        in_packages = [item for item in items if item.getparent(PackageCollector) is not None]
        for item in in_packages:
            _shield(item)
        name_items(run, items)
        _number(items)
        with _hidden_attributes(items):
            yield
        if run.saved is not None:
            kept = run.saved.keys
            self._leave(items, lambda check: (check.scenario.id, check.name) in kept)
        if run.asked.rerun is not None:
            again = run.asked.rerun
            self._leave(items, lambda check: (check.scenario.situation, check.name) in again)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Puts the checks of each scenario side by side, when everybody has sorted the tests as they like."""
        session.items[:] = grouped(session.items)

    def _leave(self, items: list[pytest.Item], wanted: Callable[[naming.Check], bool]) -> None:
        """Deselects all other checks."""
        kept: list[pytest.Item] = []
        dropped: list[pytest.Item] = []
        for item in items:
            check = item.stash.get(naming.CHECK, None)
            (kept if check is None or wanted(check) else dropped).append(item)
        if dropped:
            items[:] = kept
            self.run.config.hook.pytest_deselected(items=dropped)


PLACE = pytest.StashKey[tuple[int, int]]()
"""Where a test of a scenario belongs: the places of its scenario and of itself as they were collected."""


def _number(items: list[pytest.Item]) -> None:
    first: dict[str, int] = {}
    for number, item in enumerate(items):
        scenario = item.stash.get(naming.SCENARIO, None)
        if scenario is not None:
            item.stash[PLACE] = (first.setdefault(scenario.id, number), number)


class NaturalOrder:
    """Undoes what pytest does to the order of class-scoped parameters.

    pytest sorts tests so that few fixtures are set up again, which leaves the scenarios of a class in an order that
    nobody would expect. A scenario is set up once in any order. This comes after pytest's own sorting, because pytest
    registers that later, and before `--ff` and the conftests.
    """

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Puts the tests of scenarios in the order of their collection, among the places that they have."""
        places = [index for index, item in enumerate(items) if PLACE in item.stash]
        ordered = sorted((items[index] for index in places), key=lambda item: item.stash[PLACE])
        for index, item in zip(places, ordered, strict=True):
            items[index] = item


def parameters(target: Target) -> dict[str, tuple[object, ...]]:
    """The values of the arguments that scenarios are parametrised by."""
    return {
        "stop_signal": tuple(target.policy.stop_signals),
        "recipient": ("unit",) if target.launch == "systemd" else ("main", "group"),
        "workers": tuple(target.workers),
        "supervised_workers": target.supervised,
        "worker_failure": () if target.worker_failure is None else ("declared",),
        "port_name": tuple(target.ports),
        "fail_point": tuple(point.name for point in target.own_fail_points),
    }


class _NoCase:
    """Stands in a scenario's parameters for a value of which this target has none."""


def _has_no_case(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and any(isinstance(value, _NoCase) for value in callspec.params.values())


def is_for(item: pytest.Item, target: Target) -> bool:
    """Whether a test is there at all for this target: it has values for its parameters, and is meant for how it runs.

    The latter is the launch mode: see `drainproof.scenario.launched`.
    """
    return not _has_no_case(item) and all(
        target.launch in getattr(declared, naming.LAUNCHED, (target.launch,))
        for declared in (getattr(item, "cls", None), getattr(item, "function", None))
    )


def name_items(run: Run, items: list[pytest.Item]) -> None:
    """Names all scenarios and checks among `items`. A check of an unknown requirement is a UsageError."""
    wanted = run.wanted
    try:
        naming.name_all(
            items,
            packages=run.packages,
            requirement=requirement.get,
            repeat=lambda expression: naming.repeat_command(run.config, options=wanted.options, expression=expression),
            saved=run.saved is not None,
        )
    except UserError as error:
        raise usage_error(error) from error


def grouped(items: list[pytest.Item]) -> list[pytest.Item]:
    """The items with those of one scenario side by side, in the order in which the scenarios appear.

    A class-scoped fixture lives until a test with other parameters comes: when `--ff` or a plugin that shuffles tests
    takes a scenario apart, each part would run the experiment again.
    """
    groups: dict[object, list[pytest.Item]] = {}
    for item in items:
        scenario = item.stash.get(naming.SCENARIO, None)
        groups.setdefault(id(item) if scenario is None else scenario.id, []).append(item)
    return [item for group in groups.values() for item in group]


def _marked_names(metafunc: pytest.Metafunc) -> set[str]:
    """The arguments that the scenario's author parametrises."""
    names: set[str] = set()
    for mark in metafunc.definition.iter_markers("parametrize"):
        given = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        names.update(part.strip() for part in given.split(",")) if isinstance(given, str) else names.update(given)
    return names


def _shield(item: pytest.Item) -> None:
    """Keeps what is meant for the user's own tests away from an item of a scenario package."""
    item.add_marker(pytest.mark.filterwarnings("default"))
    if item.config.pluginmanager.has_plugin("timeout"):  # pytest-timeout: experiments have deadlines of their own
        item.add_marker(pytest.mark.timeout(0))
    defined = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    names = getattr(item, "fixturenames", [])
    foreign = {name for name in names if name in defined and _in_foreign_conftest(defined[name][-1].func, item)}
    if foreign:
        needed = _closure(getattr(item, "_fixtureinfo").argnames, defined)  # noqa: B009 - private, and typed as absent
        names[:] = [name for name in names if name in needed or name not in foreign]


def _in_foreign_conftest(function: object, item: pytest.Item) -> bool:
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    if code is None:
        return False
    file = Path(code.co_filename)
    package = item.getparent(PackageCollector)
    return file.name == "conftest.py" and package is not None and package.path not in file.parents


def _closure(names: Iterable[str], defined: dict[str, list[object]]) -> set[str]:
    """The fixtures that `names` need, themselves included."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting.extend(getattr(defined[name][-1], "argnames", ()) if name in defined else ())
    return needed


@contextmanager
def _hidden_attributes(items: Iterable[pytest.Item]) -> Generator[None]:
    """Takes the attributes that mark checks off their functions while pytest selects.

    `-k` matches the names of a function's attributes as well, and `drain` is in these: `-k drain` would select all.
    """
    values: dict[tuple[object, str], object] = {}
    for item in items:
        function = getattr(item, "function", None)
        for name in (naming.REQUIREMENT, naming.LAUNCHED):
            if function is not None and name in vars(function):
                values[function, name] = vars(function).pop(name)
    try:
        yield
    finally:
        for (function, name), value in values.items():
            setattr(function, name, value)


def args_for(packages: Iterable[ScenarioPackage]) -> list[str]:
    """What to collect when only scenarios run: the packages by name, as `--pyargs` takes them.

    By name and not by folder, because then no folder between the root and the package becomes a node: a folder's name
    is something that `-k` matches.
    """
    return [package.module for package in packages]
